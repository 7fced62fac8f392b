package config

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestSaveAndLoad(t *testing.T) {
	want := Default()
	want.Protocol.Data = "a folder: with 'quotes'"
	want.Protocol.Seed = 1<<64 - 1
	want.Protocol.Quotas = []Quota{{UID: 1, Sequences: 4}}
	want.Node.Admit = []Seat{{UID: 0, PeerID: "aB", Role: "miner"}, {UID: 1, PeerID: "Ab", Role: "miner"}}
	want.Node.RoundDeadline = 90 * time.Second
	want.Optimizer.LearningRate = 1e-3
	path := filepath.Join(t.TempDir(), "saved.yaml")
	if err := Save(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(nil, nil, path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
