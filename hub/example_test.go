package hub_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lockstep/hub"
	"lockstep/hub/safetensors"
)

// A model is pushed straight from the memory it is trained in, and read back by
// its tag.
func ExamplePushEpoch() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	repo, err := hub.CreateDirectory(filepath.Join(dir, "tiny"))
	if err != nil {
		fmt.Println(err)
		return
	}
	weights, err := safetensors.NewEncoder(nil, []safetensors.Tensor{
		{Name: "transformer.wte.weight", Shape: []int{2, 2}, Data: []float32{1, 2, 3, 4}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	files := []hub.Content{hub.Bytes("config.json", []byte("{}\n")), hub.Stream(hub.WeightsFile, weights)}
	backoff := hub.Backoff{Attempts: 5, First: time.Second, Longest: time.Minute, Sleep: hub.Sleep}
	for range 2 {
		pushed, err := hub.PushEpoch(ctx, repo, 1, files, "epoch 1", backoff)
		fmt.Println(pushed.Commit.ID, pushed.Existed, err)
	}
	f, err := repo.Open(ctx, "1", "config.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	fmt.Printf("%q %v\n", text, err)
	// Output:
	// 2eb551ced622446a3e4ac97785c7c580560b7e9f false <nil>
	// 2eb551ced622446a3e4ac97785c7c580560b7e9f true <nil>
	// "{}\n" <nil>
}

func ExampleParseModel() {
	for _, name := range []string{"distilgpt2", "distilbert/distilgpt2@main", "./run/hub/tiny@3"} {
		m, err := hub.ParseModel(name)
		fmt.Println(m.Kind, m.Name, m.Revision, err)
	}
	// Output:
	// built-in distilgpt2  <nil>
	// Hub distilbert/distilgpt2 main <nil>
	// folder ./run/hub/tiny 3 <nil>
}
