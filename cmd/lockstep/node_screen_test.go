package main

import (
	"bytes"
	"testing"

	"lockstep/observe"
	"lockstep/swarm"
)

// TestNodeScreen shows a log as it reads in a file: one line for what matters,
// none for what other events say too.
func TestNodeScreen(t *testing.T) {
	var b bytes.Buffer
	s := nodeScreen{observe.NewPlainTerminal(&b)}
	for _, e := range []swarm.Event{
		swarm.Joined{UID: 3, Role: "miner"},
		swarm.Listening{Role: "miner", Address: "host:1"},
		swarm.Progress{Epoch: 2, Phase: "computing", Quota: 8, Steps: 4, Local: 32, Global: 2048},
		swarm.Progress{Epoch: 2, Phase: "computing", Done: 4, Quota: 8},
		swarm.Progress{Epoch: 2, Phase: "averaging: commit", Quota: 8},
		swarm.Judged{Epoch: 2, UID: 3, Outcome: "exact", Text: "1024 tokens recomputed, bit for bit"},
		swarm.Judged{Epoch: 2, UID: 4, Outcome: "mismatch", Kind: "random", Text: "claims gradient a; computed is b"},
		swarm.Scores{Epoch: 2},
		swarm.Finished{},
		swarm.Warning{Text: "the validator is away"},
	} {
		s.show(e)
	}
	want := `joined as miner 3
listening at host:1
epoch 2: computing, 0 of 8 sequences; 4 local steps, 32 samples, 2,048 tokens in all
epoch 2: miner 3 is exact: 1024 tokens recomputed, bit for bit
epoch 2: miner 4 is mismatch, random: claims gradient a; computed is b
warning: the validator is away
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
