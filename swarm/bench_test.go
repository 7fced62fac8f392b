package swarm

import (
	"context"
	"testing"

	"lockstep/hub"
	"lockstep/internal/merkle"
	"lockstep/internal/spec"
	"lockstep/model"
)

// BenchmarkFetchState takes the state of a model of 13 million parameters over
// loopback TLS, every leaf checked.
func BenchmarkFetchState(b *testing.B) {
	c := model.Config{Layers: 4, Heads: 8, Embd: 512, Inner: 2048, Positions: 64, Vocab: 512, LayerNormEpsilon: 1e-5}
	s := model.NewState(model.Initialise(c, 1))
	s.Epoch, s.Step = 1, 1
	d := digestsOf(merkle.Digest{1}, spec.RunID{1}, s)
	a := &archive{dir: b.TempDir(), save: hub.SaveState, backlog: 2}
	defer a.close()
	if _, err := a.put(context.Background(), s, d, nil, 1); err != nil {
		b.Fatal(err)
	}
	at := server(b, (&sharing{archive: a, averages: &averages{}, bell: &bell{}}).routes())
	f := &fetcher{client: client(b, at), warn: b.Logf}
	into := model.NewState(model.NewParameters(c))
	b.SetBytes(int64(12 * s.Layout.Elements))
	for b.Loop() {
		if err := f.state(context.Background(), d.State, from(at), into, nil); err != nil {
			b.Fatal(err)
		}
	}
}
