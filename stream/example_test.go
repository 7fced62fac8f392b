package stream_test

import (
	"context"
	"fmt"

	"lockstep/stream"
	"lockstep/stream/tokenizer"
)

// The first four steps of an epoch: whose rows, their text, their tokens, the
// batch. Two machines that print the same four lines train on the same data.
func Example() {
	ctx := context.Background()
	src, err := stream.Open(ctx, "builtin")
	if err != nil {
		panic(err)
	}
	defer src.Close()
	assignment := stream.Assignment{Seed: 38, Slots: 3, SegmentsPerMiner: 1, SegmentRows: 100, Rows: src.Rows()}
	segments, err := assignment.Segments(2, 1) // epoch 2, uid 1
	if err != nil {
		panic(err)
	}
	work, err := stream.Load(ctx, src, tokenizer.Nano(), segments, 32, 4)
	if err != nil {
		panic(err)
	}
	fmt.Println("segment", stream.SegmentsDigest(segments).Short())
	fmt.Println("rows   ", work.RowsDigest.Short())
	fmt.Println("tokens ", work.EncodingDigest.Short())
	fmt.Println("batch  ", work.TokensDigest.Short())
	// Output:
	// segment 36fad91c
	// rows    5998339b
	// tokens  6a41ebc7
	// batch   f7f97fe3
}
