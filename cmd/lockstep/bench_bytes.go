package main

import (
	"context"
	"fmt"
	"time"

	"lockstep/internal/f32"
	"lockstep/internal/merkle"
	"lockstep/reduce/commit"
)

// bytesResult is the result of `lockstep bench reduce` and `bench hash`.
type bytesResult struct {
	machineInfo
	Model          string  `json:"model"`
	Peers          int     `json:"peers,omitempty"`
	Bytes          int64   `json:"bytes"` // that went in
	Seconds        float64 `json:"seconds"`
	BytesPerSecond float64 `json:"bytes_per_second"`
}

// benchPeers is the number of peers whose gradients are added.
const benchPeers = 8

// benchReduce adds the encoded gradients of eight peers leaf by leaf, divides
// and encodes, as the owner of a part does (N16); the part is a peer's share.
func benchReduce(ctx context.Context, s benchSettings) (measurement, error) {
	weights, err := benchWeights(ctx, s)
	if err != nil {
		return nil, err
	}
	grid := merkle.Grid{Elements: (len(weights) + benchPeers - 1) / benchPeers}
	encoded := merkle.AppendFloat32(nil, weights[:grid.Elements])
	out := make([]byte, len(encoded))
	return s.throughput(ctx, "reduce", benchPeers, benchPeers*len(encoded), func() {
		f32.Parallel(grid.Leaves(), func(leaf int) {
			lo, hi := grid.LeafSpan(leaf)
			sum, x := commit.NewSum(hi-lo), make([]float32, hi-lo)
			for range benchPeers {
				merkle.DecodeFloat32(x, encoded[4*lo:4*hi])
				sum.Add(x)
			}
			sum.Mean(x, 1024*benchPeers)
			merkle.AppendFloat32(out[4*lo:4*lo:4*hi], x)
		})
	})
}

// benchHash computes the root of a vector of the model's size (N22).
func benchHash(ctx context.Context, s benchSettings) (measurement, error) {
	weights, err := benchWeights(ctx, s)
	if err != nil {
		return nil, err
	}
	grid := merkle.Grid{Kind: merkle.KindGradient, Codec: merkle.CodecF32, Elements: len(weights)}
	return s.throughput(ctx, "hash", 0, 4*len(weights), func() { merkle.Root(grid.Digests(weights)) })
}

func benchWeights(ctx context.Context, s benchSettings) ([]float32, error) {
	m, err := loadModel(ctx, s.config.Protocol.Model, s.config.Protocol.Seed)
	if err != nil {
		return nil, err
	}
	return m.weights.Data, nil
}

// throughput measures f, which takes in so many bytes.
func (s benchSettings) throughput(ctx context.Context, name string, peers, bytes int, f func()) (measurement, error) {
	var times []time.Duration
	for run := range s.runs + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.status("%s %d of %d", name, run, s.runs)
		if d := timed(f); run > 0 {
			times = append(times, d)
		}
	}
	r := bytesResult{machineInfo: s.machine, Model: s.config.Protocol.Model, Peers: peers, Bytes: int64(bytes), Seconds: median(times)}
	r.BytesPerSecond = float64(bytes) / r.Seconds
	return r, nil
}

func (r bytesResult) table() [][]string {
	return [][]string{
		{"bytes", "time", "GB/s"},
		{fmt.Sprint(r.Bytes), fmt.Sprintf("%.3f s", r.Seconds), fmt.Sprintf("%.2f", r.BytesPerSecond/1e9)},
	}
}
