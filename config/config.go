// Package config turns flags, environment, one YAML file and defaults into one
// Config, checked and frozen before anything runs. It knows nothing of what
// uses it. viper stays behind load.go.
package config

import "time"

// Config is every setting of lockstep. Each field has a key (section.name), a
// default (Default), a help text, and, where commands offer it, a flag of the
// same name. A zero marked "model's own" is filled in from the model's preset.
type Config struct {
	Protocol  Protocol  `mapstructure:"protocol"`
	Optimizer Optimizer `mapstructure:"optimizer"`
	Train     Train     `mapstructure:"train"`
	Swarm     Swarm     `mapstructure:"swarm"`
	Node      Node      `mapstructure:"node"`
	Hub       Hub       `mapstructure:"hub"`
	Fetch     Fetch     `mapstructure:"fetch"`
	Output    Output    `mapstructure:"output"`
}

// Protocol holds what peers must agree on; it becomes the run spec.
type Protocol struct {
	Model       string  `mapstructure:"model" help:"model: a built-in name (nano, tiny, distilgpt2, gpt2), DIR, DIR@TAG, or OWNER/NAME[@REVISION] of the Hub"`
	Init        string  `mapstructure:"init" help:"start from these weights instead of the seed: DIR, DIR@TAG, or OWNER/NAME[@REVISION] of the Hub"`
	Data        string  `mapstructure:"data" help:"rows: builtin, a folder or file of parquet, jsonl or text, hf://datasets/OWNER/NAME@REVISION/PATH, or rows://OWNER/NAME/CONFIG"`
	Seed        uint64  `mapstructure:"seed" help:"seed of weights, assignment and sampling"`
	SeqLen      int     `mapstructure:"seq-len" help:"tokens of a sequence (0: the model's own)" min:"0" max:"1024"`
	Sequences   int     `mapstructure:"sequences" help:"sequences a miner owes per epoch (0: the model's own)" min:"0" max:"1048576"`
	Quotas      []Quota `mapstructure:"quotas" help:"miners with another number of sequences: a list of {uid, sequences}"`
	Slots       int     `mapstructure:"slots" help:"seats among which segments are dealt (0: 8, or the number of miners if larger)" min:"0" max:"256"`
	Segments    int     `mapstructure:"segments" help:"segments a miner is dealt per epoch" min:"1" max:"1024"`
	SegmentRows int     `mapstructure:"segment-rows" help:"rows of a segment" min:"1" max:"1048576"`
}

// Quota is one miner's own number of sequences per epoch.
type Quota struct {
	UID       int `mapstructure:"uid"`
	Sequences int `mapstructure:"sequences"`
}

// Optimizer is AdamW; part of the run spec.
type Optimizer struct {
	LearningRate float64 `mapstructure:"lr" help:"peak learning rate (0: the model's own)" min:"0" max:"10"`
	MinRate      float64 `mapstructure:"min-lr" help:"learning rate at the end of the decay" min:"0" max:"10"`
	Warmup       int     `mapstructure:"warmup" help:"steps of linear warm-up" min:"0" max:"1000000000"`
	DecaySteps   int     `mapstructure:"decay-steps" help:"steps of linear decay after the warm-up (0: constant)" min:"0" max:"1000000000"`
	Beta1        float64 `mapstructure:"beta1" help:"decay of the first moment" min:"0" max:"0.999999"`
	Beta2        float64 `mapstructure:"beta2" help:"decay of the second moment" min:"0" max:"0.999999"`
	Epsilon      float64 `mapstructure:"epsilon" help:"added to the root of the second moment" min:"1e-30" max:"1"`
	WeightDecay  float64 `mapstructure:"weight-decay" help:"decoupled weight decay, on matrices" min:"0" max:"1"`
	ClipNorm     float64 `mapstructure:"clip-norm" help:"largest norm of the averaged gradient" min:"1e-30" max:"1e30"`
}

// Train is for one process without a network.
type Train struct {
	Steps     int           `mapstructure:"steps" help:"optimizer steps, counted from the run's beginning" min:"1" max:"1000000000"`
	Batch     int           `mapstructure:"batch" help:"sequences per step (0: the model's own)" min:"0" max:"65536"`
	PushEvery int           `mapstructure:"push-every" help:"commit and tag the model every so many steps (0: at the end only)" min:"0" max:"1000000000"`
	SaveEvery time.Duration `mapstructure:"save-every" help:"save the state when so much work would be lost in a crash (0s: after every step)" min:"0s" max:"24h"`
}

// Swarm is for a whole network on this machine.
type Swarm struct {
	Miners   int `mapstructure:"miners" help:"miners" min:"1" max:"64"`
	Epochs   int `mapstructure:"epochs" help:"epochs, counted from the run's beginning" min:"1" max:"1000000000"`
	Cheaters int `mapstructure:"cheaters" help:"how many of the last miners cheat: random, switch, recommit, tokens in turn" min:"0" max:"64"`
}

// Node is for one miner or validator of a network.
type Node struct {
	Listen        string        `mapstructure:"listen" help:"address to listen on"`
	Announce      string        `mapstructure:"announce" help:"address that others dial (empty: the one listened on)"`
	Validator     string        `mapstructure:"validator" help:"a validator to join at: host:port/PEERID"`
	Key           string        `mapstructure:"key" help:"ed25519 key file (empty: DIR/identity.key)"`
	Admit         []Seat        `mapstructure:"admit" help:"validator: who may join, a list of {uid, peer-id, role}"`
	RoundDeadline time.Duration `mapstructure:"round-deadline" help:"longest time for one averaging (0s: two minutes; for swarm the model's own)" min:"0s" max:"24h"`
	ClaimDeadline time.Duration `mapstructure:"claim-deadline" help:"longest time for a miner's gradient" min:"1s" max:"240h"`
	MicroBatch    int           `mapstructure:"micro-batch" help:"sequences computed at a time (0: about 1,024 tokens; changes no bit)" min:"0" max:"4096"`
	Throttle      int           `mapstructure:"throttle" help:"bytes per second sent at the most (0: no limit)" min:"0" max:"1000000000000"`
	Threads       int           `mapstructure:"threads" help:"worker threads (0: all cores; changes no bit)" min:"0" max:"1024"`
}

// Seat admits a key to a seat.
type Seat struct {
	UID    int    `mapstructure:"uid"`
	PeerID string `mapstructure:"peer-id"`
	Role   string `mapstructure:"role"`
}

// Hub says where epochs are pushed.
type Hub struct {
	Dir   string `mapstructure:"hub-dir" help:"folder of local repositories (empty: DIR/hub)"`
	Repo  string `mapstructure:"repo" help:"repository name (empty: the model's name)"`
	URL   string `mapstructure:"hub-url" help:"Hub that takes the models instead of a folder, such as https://huggingface.co; --repo is then OWNER/NAME"`
	Token string `mapstructure:"hub-token" help:"file with the token for --hub-url (empty: HF_TOKEN and what follows it)"`
}

// Fetch is how text of other machines is reached. None of it changes a row.
type Fetch struct {
	Cache        string `mapstructure:"cache" help:"folder that keeps fetched text (empty: lockstep/text in the user's cache folder; none: keep nothing)"`
	CacheSize    int    `mapstructure:"cache-size" help:"bytes that the folder of fetched text may take" min:"1048576" max:"1000000000000000"`
	Ahead        int    `mapstructure:"fetch-ahead" help:"bytes of text fetched ahead of their use" min:"1048576" max:"1000000000000"`
	Requests     int    `mapstructure:"fetch-requests" help:"requests for text in flight at once" min:"1" max:"64"`
	RowsEndpoint string `mapstructure:"rows-endpoint" help:"server of rows:// (empty: the public one)"`
}

// Output is how a run shows itself.
type Output struct {
	Dir  string `mapstructure:"dir" help:"run folder"`
	JSON bool   `mapstructure:"json" help:"print one JSON object on stdout"`
}

// Default returns the settings that hold when nothing is said.
func Default() Config {
	return Config{
		Protocol: Protocol{Model: "nano", Data: "builtin", Seed: 1, Segments: 1, SegmentRows: 100},
		Optimizer: Optimizer{
			Beta1: 0.9, Beta2: 0.95, Epsilon: 1e-8, WeightDecay: 0.1, ClipNorm: 1,
		},
		Train: Train{Steps: 20, PushEvery: 1, SaveEvery: 2 * time.Minute},
		Swarm: Swarm{Miners: 3, Epochs: 16},
		Node: Node{
			Listen: "127.0.0.1:0", ClaimDeadline: 10 * time.Minute,
		},
		Fetch:  Fetch{CacheSize: 8 << 30, Ahead: 64 << 20, Requests: 6},
		Output: Output{},
	}
}
