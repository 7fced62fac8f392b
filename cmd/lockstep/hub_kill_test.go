package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockstep/hub"
	"lockstep/hub/client"
)

// hubProcess is a `lockstep hub serve` of its own.
type hubProcess struct {
	t       *testing.T
	dir     string
	address string // http://host:port, the same after every start
	cmd     *exec.Cmd
}

func (p *hubProcess) start() {
	p.t.Helper()
	listen := "127.0.0.1:0"
	if p.address != "" {
		u, err := url.Parse(p.address)
		if err != nil {
			p.t.Fatal(err)
		}
		listen = u.Host
	}
	p.cmd = exec.Command(os.Args[0], "hub", "serve", "--dir", p.dir, "--listen", listen)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.t.Fatalf("the server did not start: %v", err)
	}
	p.address = strings.TrimSpace(line)
}

// kill is SIGKILL, and waits for the end.
func (p *hubProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}

// token is the one that the server made for itself.
func (p *hubProcess) token() string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "tokens"))
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	return fields[len(fields)-1]
}

// TestKilledHub kills a server again and again while epochs are pushed to it:
// whatever was acknowledged is there in the end, whole.
func TestKilledHub(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes for some seconds")
	}
	server := &hubProcess{t: t, dir: filepath.Join(t.TempDir(), "hub")}
	server.start()
	defer func() { server.kill() }()
	var met atomic.Int64 // requests and pushes that a kill made fail
	wait := func(ctx context.Context, d time.Duration) error {
		met.Add(1)
		return hub.Sleep(ctx, d)
	}
	k, err := client.New(client.Config{
		Endpoint: server.address, Token: server.token(), Cache: t.TempDir(),
		Backoff: hub.Backoff{Attempts: 4, First: 5 * time.Millisecond, Longest: 100 * time.Millisecond, Sleep: wait},
	})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := k.Repo(client.Model, "lockstep/nano")
	if err == nil {
		err = repo.Create(t.Context(), false)
	}
	if err != nil {
		t.Fatal(err)
	}
	const epochs, kills = 40, 12
	var acknowledged []hub.Pushed
	var pushing sync.WaitGroup
	pushing.Go(func() {
		patience := hub.Backoff{Attempts: 200, First: 10 * time.Millisecond, Longest: 100 * time.Millisecond, Sleep: wait}
		for epoch := uint64(1); epoch <= epochs; epoch++ {
			pushed, err := hub.PushEpoch(t.Context(), repo, epoch, contentsOf(epoch), fmt.Sprintf("epoch %d", epoch), patience)
			if err != nil {
				t.Error(err)
				return
			}
			acknowledged = append(acknowledged, pushed)
		}
	})
	random := rand.New(rand.NewPCG(4, 10))
	for range kills {
		time.Sleep(time.Duration(20+random.IntN(150)) * time.Millisecond)
		server.kill()
		server.start()
	}
	pushing.Wait()
	if met.Load() == 0 {
		t.Error("no kill met a push")
	}
	server.kill() // what counts is on disk
	server.start()
	for i, pushed := range acknowledged {
		for _, c := range contentsOf(uint64(i + 1)) {
			f, err := repo.Open(t.Context(), pushed.Tag, c.Path)
			if err != nil {
				t.Fatalf("epoch %d was acknowledged: %v", i+1, err)
			}
			var want strings.Builder
			_ = c.Write(&want) // to memory
			got, err := io.ReadAll(f)
			f.Close()
			if err != nil || string(got) != want.String() {
				t.Errorf("epoch %d, %s: %d bytes of %d, %v", i+1, c.Path, len(got), want.Len(), err)
			}
		}
	}
	head, err := repo.Resolve(t.Context(), "main")
	if err != nil || len(acknowledged) != epochs || head.ID != acknowledged[epochs-1].Commit.ID {
		t.Errorf("%d epochs were acknowledged, main is %s, %v", len(acknowledged), head.ID, err)
	}
	history := 0
	for at := head; at.Parent != ""; history++ {
		if at, err = repo.Resolve(t.Context(), at.Parent); err != nil {
			t.Fatal(err)
		}
	}
	if history != epochs {
		t.Errorf("%d commits for %d epochs", history, epochs)
	}
}

// TestSwarmOutlivesItsHub runs a network that pushes to a Hub which is killed and
// away for a while: training goes on, to the state of an undisturbed network, and
// all tags are there in the end.
func TestSwarmOutlivesItsHub(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole networks")
	}
	const epochs = 10
	want := runSwarm(t, "--epochs", fmt.Sprint(epochs))
	server := &hubProcess{t: t, dir: filepath.Join(t.TempDir(), "hub")}
	server.start()
	defer func() { server.kill() }()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(server.token()), 0o600); err != nil {
		t.Fatal(err)
	}
	tags := filepath.Join(server.dir, "models", "alice", "run", "refs", "tags")
	var outage sync.WaitGroup
	outage.Go(func() {
		for deadline := time.Now().Add(time.Minute); !exists(filepath.Join(tags, "2")) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		}
		server.kill()
		time.Sleep(3 * time.Second)
		server.start()
	})
	got := runSwarm(t, "--epochs", fmt.Sprint(epochs), "--hub-url", server.address, "--hub-token", token, "--repo", "alice/run")
	outage.Wait()
	for i, e := range got.Epochs {
		if e.StateRoot != want.Epochs[i].StateRoot || !e.NodesAgree {
			t.Errorf("epoch %d: state %s, undisturbed %s", e.Epoch, e.StateRoot.Short(), want.Epochs[i].StateRoot.Short())
		}
		if !exists(filepath.Join(tags, fmt.Sprint(e.Epoch))) {
			t.Errorf("tag %d is missing", e.Epoch)
		}
	}
	if len(got.Epochs) != epochs {
		t.Errorf("%d epochs", len(got.Epochs))
	}
}

// contentsOf is an epoch's files: one large, one small.
func contentsOf(epoch uint64) []hub.Content {
	text := fmt.Sprintf("epoch %d\n", epoch)
	return []hub.Content{hub.Bytes("model.safetensors", []byte(strings.Repeat(text, 20_000))), hub.Bytes("README.md", []byte(text))}
}
