package swarm

import (
	"encoding/json"
	"fmt"
	"reflect"

	"lockstep/internal/fault"
	"lockstep/internal/merkle"
	"lockstep/internal/signed"
	"lockstep/validate"
)

// EventVersion is the version of the events' JSON form. Fields may be added
// within a version; readers skip what they do not know.
const EventVersion = 1

// Event is something that happened at a node, for screens and logs. Nothing in
// the protocol depends on events.
type Event interface{ event() string }

// Listening says that a node answers on its port. Others join at
// Address{Address, Peer}.
type Listening struct {
	Role    string        `json:"role"`
	Peer    signed.PeerID `json:"peer_id"`
	Address string        `json:"address"`
}

// Joined says that a node took its seat.
type Joined struct {
	UID     uint32        `json:"uid"`
	Peer    signed.PeerID `json:"peer_id"`
	Role    string        `json:"role"`
	Address string        `json:"address"`
	Seated  int           `json:"seated"`   // miners seated now
	Wanted  int           `json:"expected"` // miners that epoch 1 waits for
}

// Left says that a node gave up its seat, or is taken for gone.
type Left struct {
	UID    uint32 `json:"uid"`
	Reason string `json:"reason"`
}

// Progress says how far a node is, within its epoch and in the run.
type Progress struct {
	UID     uint32 `json:"uid"`
	Epoch   uint64 `json:"epoch"` // being worked on
	Final   uint64 `json:"final"` // last epoch of the run; 0 if it is open
	Phase   string `json:"phase"` // "computing", "waiting", "averaging", "catching-up", ...
	Done    uint64 `json:"done"`  // sequences of the epoch computed by this node
	Quota   uint64 `json:"quota"`
	Steps   uint64 `json:"steps"`   // local: micro-batches computed since the start
	Local   uint64 `json:"local"`   // samples (sequences) computed by this node since its start
	Global  uint64 `json:"global"`  // tokens averaged by the network since epoch 1, as far as this node knows
	Members int    `json:"members"` // of the last round
}

// ClaimReady says that a miner signed its claim.
type ClaimReady struct {
	UID       uint32        `json:"uid"`
	Epoch     uint64        `json:"epoch"`
	Loss      float64       `json:"loss"` // mean per token
	Tokens    uint64        `json:"tokens"`
	Sequences uint32        `json:"sequences"`
	Gradient  merkle.Digest `json:"gradient"`
	Seconds   float64       `json:"seconds"`
}

// Judged says what the validator found about one miner in one epoch.
type Judged struct {
	Epoch    uint64 `json:"epoch"`
	UID      uint32 `json:"uid"`
	Outcome  string `json:"outcome"`
	Kind     string `json:"kind"` // of cheat; empty for none
	Text     string `json:"text"`
	Evidence string `json:"evidence"` // folder
}

// RoundStarted says that an attempt at averaging began.
type RoundStarted struct {
	Epoch   uint64   `json:"epoch"`
	Attempt uint32   `json:"attempt"`
	Members []uint32 `json:"members"`
}

// Attempt says how an attempt ended.
type Attempt struct {
	Epoch    uint64     `json:"epoch"`
	Attempt  uint32     `json:"attempt"`
	Verdict  string     `json:"verdict"` // "COMMIT" or "ABORT"
	Excluded []Excluded `json:"excluded"`
}

// Excluded is a member that is left out of the next attempt.
type Excluded struct {
	UID  uint32 `json:"uid"`
	Kind string `json:"kind"`
}

// Committed says that an epoch is certified and applied at this node.
type Committed struct {
	Epoch    uint64        `json:"epoch"`
	Loss     float64       `json:"loss"` // token mean of the group on the base state, before the step
	State    merkle.Digest `json:"state_root"`
	Members  []uint32      `json:"members"`
	Attempts uint32        `json:"attempts"`
	Tokens   uint64        `json:"tokens"`
	Norm     float64       `json:"norm"` // of the average, before clipping
	Rate     float64       `json:"rate"` // learning rate
	Seconds  float64       `json:"seconds"`
}

// StateRoot says which state a node reported after an epoch.
type StateRoot struct {
	Epoch  uint64        `json:"epoch"`
	UID    uint32        `json:"uid"`
	Root   merkle.Digest `json:"root"`
	Agrees bool          `json:"agrees"`
}

// Settled says that the validator is done with an epoch: every state root that
// was to come has come.
type Settled struct {
	Epoch   uint64 `json:"epoch"`
	Agree   bool   `json:"nodes_agree"`
	Reports int    `json:"reports"`
	Audited int    `json:"audited"` // chunks of the average that were reduced again
}

// Pushed says that an epoch is in the repository.
type Pushed struct {
	Epoch  uint64 `json:"epoch"`
	Tag    string `json:"tag"`
	UID    uint32 `json:"uid"` // who pushed
	Commit string `json:"commit"`
}

// Scores is the table after an epoch.
type Scores struct {
	Epoch uint64           `json:"epoch"`
	Table []validate.Score `json:"table"`
}

// CaughtUp says that a node took a certified state, or average, from others.
type CaughtUp struct {
	UID   uint32        `json:"uid"`
	Epoch uint64        `json:"epoch"`
	From  string        `json:"from"` // "average" or "state"
	Root  merkle.Digest `json:"root"`
}

// Warning is something that a person should know and that does not stop the
// node.
type Warning struct {
	Text string `json:"text"`
}

// Ended says that the run is over.
type Ended struct {
	Epoch uint64        `json:"epoch"`
	Root  merkle.Digest `json:"root"`
}

// Finished is the last event of a validator: the whole run.
type Finished struct {
	Summary Summary `json:"summary"`
}

func (Listening) event() string    { return "listening" }
func (Joined) event() string       { return "joined" }
func (Left) event() string         { return "left" }
func (Progress) event() string     { return "progress" }
func (ClaimReady) event() string   { return "claim" }
func (Judged) event() string       { return "verdict" }
func (RoundStarted) event() string { return "round" }
func (Attempt) event() string      { return "attempt" }
func (Committed) event() string    { return "committed" }
func (StateRoot) event() string    { return "state-root" }
func (Settled) event() string      { return "settled" }
func (Pushed) event() string       { return "pushed" }
func (Scores) event() string       { return "scores" }
func (CaughtUp) event() string     { return "caught-up" }
func (Warning) event() string      { return "warning" }
func (Ended) event() string        { return "ended" }
func (Finished) event() string     { return "finished" }

// eventTypes maps names to types for DecodeEvent.
var eventTypes = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, e := range []Event{
		Listening{}, Joined{}, Left{}, Progress{}, ClaimReady{}, Judged{}, RoundStarted{}, Attempt{}, Committed{},
		StateRoot{}, Settled{}, Pushed{}, Scores{}, CaughtUp{}, Warning{}, Ended{}, Finished{},
	} {
		types[e.event()] = reflect.TypeOf(e)
	}
	return types
}()

// eventLine is the JSON form of an event.
type eventLine struct {
	Version int             `json:"version"`
	Event   string          `json:"event"`
	Data    json.RawMessage `json:"data"`
}

// EncodeEvent returns an event as one line of JSON, newline included.
func EncodeEvent(e Event) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.event(), err) // a float that JSON cannot hold
	}
	line, err := json.Marshal(eventLine{EventVersion, e.event(), data})
	return append(line, '\n'), err
}

// DecodeEvent reads a line that EncodeEvent wrote, also in a later revision of
// the version. An event of an unknown name is nil without an error.
func DecodeEvent(line []byte) (Event, error) {
	var l eventLine
	if err := json.Unmarshal(line, &l); err != nil {
		return nil, fault.Errorf(fault.Damaged, "event: %w", err)
	}
	if l.Version != EventVersion {
		return nil, fault.Errorf(fault.Damaged, "event: version %d; this program reads version %d", l.Version, EventVersion)
	}
	t, known := eventTypes[l.Event]
	if !known {
		return nil, nil
	}
	v := reflect.New(t)
	if err := json.Unmarshal(l.Data, v.Interface()); err != nil {
		return nil, fault.Errorf(fault.Damaged, "event %s: %w", l.Event, err)
	}
	return v.Elem().Interface().(Event), nil
}
