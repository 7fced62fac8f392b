package hub

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lockstep/hub/safetensors"
)

// distilgpt2 returns tensors of that model's names and shapes: 76 of them,
// 81,912,576 parameters, 327,650,304 bytes.
func distilgpt2() []safetensors.Tensor {
	var out []safetensors.Tensor
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		t := safetensors.Tensor{Name: "transformer." + name, Shape: shape, Data: make([]float32, n)}
		for i := range t.Data {
			t.Data[i] = float32(i%1000) / 1000
		}
		out = append(out, t)
	}
	norm := func(name string) { add(name+".weight", 768); add(name+".bias", 768) }
	linear := func(name string, in, n int) { add(name+".weight", in, n); add(name+".bias", n) }
	add("wte.weight", 50257, 768)
	add("wpe.weight", 1024, 768)
	for i := range 6 {
		h := fmt.Sprintf("h.%d.", i)
		norm(h + "ln_1")
		linear(h+"attn.c_attn", 768, 2304)
		linear(h+"attn.c_proj", 768, 768)
		norm(h + "ln_2")
		linear(h+"mlp.c_fc", 768, 3072)
		linear(h+"mlp.c_proj", 3072, 768)
	}
	norm("ln_f")
	return out
}

func encoder(b *testing.B) *safetensors.Encoder {
	e, err := safetensors.NewEncoder(nil, distilgpt2())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(e.Size())
	b.ReportAllocs()
	return e
}

func BenchmarkHash(b *testing.B) {
	data := make([]byte, 1<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		sha256.Sum256(data)
	}
}

// BenchmarkEncodeAndHash is what a commit costs beyond the disk; encoding alone
// copies nothing.
func BenchmarkEncodeAndHash(b *testing.B) {
	e := encoder(b)
	for b.Loop() {
		e.Digest()
	}
}

// BenchmarkCommit writes the weights into a repository: hashed, written, synced.
func BenchmarkCommit(b *testing.B) {
	e := encoder(b)
	root := b.TempDir()
	for i := 0; b.Loop(); i++ {
		d, err := CreateDirectory(filepath.Join(root, fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		commit(b, d, "", "", Stream(WeightsFile, e))
		b.StopTimer()
		os.RemoveAll(d.root)
		b.StartTimer()
	}
}

// BenchmarkRead reads the weights from a warm file into memory that is in use.
func BenchmarkRead(b *testing.B) {
	e := encoder(b)
	f, err := os.Create(filepath.Join(b.TempDir(), WeightsFile))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := e.WriteTo(f); err != nil {
		b.Fatal(err)
	}
	tensors := distilgpt2()
	for b.Loop() {
		s, err := safetensors.Open(f, e.Size(), f.Name())
		if err == nil {
			err = s.Read(ctx, tensors...)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenAndRead also verifies the digest, as a repository does.
func BenchmarkOpenAndRead(b *testing.B) {
	e := encoder(b)
	d, err := CreateDirectory(filepath.Join(b.TempDir(), "model"))
	if err != nil {
		b.Fatal(err)
	}
	commit(b, d, "", "", Stream(WeightsFile, e))
	tensors := distilgpt2()
	for b.Loop() {
		raw, err := d.Open(ctx, "main", WeightsFile)
		if err != nil {
			b.Fatal(err)
		}
		f, err := safetensors.Open(raw, raw.Size(), WeightsFile)
		if err == nil {
			err = f.Read(ctx, tensors...)
		}
		raw.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkState(b *testing.B) {
	const n = 81_912_576
	s := stateAt(1, 1, n)
	dir := b.TempDir()
	b.Run("save", func(b *testing.B) {
		b.SetBytes(3 * 4 * n)
		b.ReportAllocs()
		for b.Loop() {
			s.Step++
			if _, err := SaveState(ctx, dir, s, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(3 * 4 * n)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := LoadState(ctx, dir, &s); err != nil {
				b.Fatal(err)
			}
		}
	})
}
