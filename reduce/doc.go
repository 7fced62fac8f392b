// Package reduce averages gradients between peers that do not trust each other.
// "Butterfly" is meant in hivemind's sense: each of n peers owns one part of the
// vector, takes that part from everybody (scatter), averages it, and sends the
// average to everybody (gather); it is not the log2(n) exchange of an FFT.
//
// The package holds the round as machines without sockets, clock, goroutines,
// map iteration or randomness: [Machine.Step] takes the time and one [Event] and
// returns [Action] values. Package reduce/transport drives them over TLS; a
// seeded simulator drives them through thousands of faulty rounds in the tests
// of this package. A [Member] contributes a gradient, an [Observer] receives the
// average, a [Leader] opens attempts and decides them.
//
// # An attempt
//
//	leader                      member                        observer
//	Roster ------------------>  checks it against the claims
//	       <------------------  Commitment
//	Set   ------------------->  all are bound: Opening, leaf digests to all
//	                            scatter: chunks to their owners
//	                            adds, divides, rounds (N16)
//	                            gather: averaged chunks  ---> takes them too
//	       <------------------  Receipt to all           ---> compares
//	       <------------------  Vote
//	       <---------------------------------------------     Witness: has it all
//	Decision ---------------->  COMMIT: Apply. ABORT: next attempt
//
// A chunk is sent only on credit that its receiver granted, so a receiver holds
// at most Config.Window chunks of each sender, and nobody ever waits for somebody
// to read. Every wait ends at a deadline derived from the roster's one deadline;
// only a member that has voted waits for as long as it takes.
//
// # Duties of the caller
//
//  1. Feed every event to Step, from one goroutine, with a time that never goes
//     back; call Step(now, Tick{}) when Next() has come.
//  2. Carry out actions in order. Append and Save must be durable before any
//     later action; if they fail, carry out nothing more.
//  3. Deliver messages of one connection in order, between Connected and
//     Disconnected, and none of them twice. Losing a connection may lose any
//     number of messages from some point on; the machines repeat what matters.
//     This node itself counts as connected from the start.
//  4. Restore machines from their journal (NewMember, NewLeader) before any
//     event. Machine.Records is the least journal; rewrite it when it has grown.
//  5. A member's caller computes the gradient, posts Freeze, then publishes the
//     claim, and leaves the gradient alone until it has posted Applied.
//  6. On Apply or CatchUp make the state of the epoch durable, then post
//     Applied. CatchUp's average is to be had from any peer that has it, chunk by
//     chunk: check the leaf digests' root against Decision.Result, then every
//     chunk against its digests, and every value for NaN and Inf.
//  7. A leader's caller posts Open when it has the claims of an epoch, on Reopen
//     again, and Expel when a claim turns out false. It runs an Observer on the
//     same node and lists it first: the leader certifies only results that its
//     observer holds and has saved, so that certified bytes are never lost.
//
// # Invariants
//
// The simulator checks these after every event, by these numbers. TestSimulation
// plays 2,000 seeds, in some 20 seconds of processor time, and 60 with -short; a
// list of planted defects is found within them (TestMutants).
//
//	 1 Two nodes that apply an epoch apply the same bytes and reach one state.
//	 2 The bytes are the sum over exactly the certificate's members divided by
//	   their tokens, as a naive second reducer computes them.
//	 3 All parts of an average are over the same members (follows from 2).
//	 4 An average is applied whole.
//	 5 A frozen gradient does not change.
//	 6 There is one roster and one decision for each attempt, and one COMMIT for
//	   each epoch.
//	 7 Epochs and attempts only go forward; nobody votes twice on one roster.
//	 8 Nothing is applied without a certificate, and no COMMIT is made on two
//	   thirds of the votes or fewer, or over a member that is proved wrong.
//	 9 The divisor is the token count of the commitments.
//	10 Every chunk has one owner; all nodes compute the same parts.
//	11 The leader's caller holds the votes and commitments behind a COMMIT before
//	   it takes the step, whatever crashes.
//	12 Who shows the leader two documents for one place is convicted; no evidence
//	   convicts an honest peer; none is missing when a decision rests on it.
//	13 A wrong sum is convicted by an audit of one of its leaves.
//	14 NaN and Inf are never applied.
//	15 A member holds no more chunks than it granted credit for.
//	16 An attempt is decided by its deadline while the leader lives.
//	17 Once faults stop, all honest nodes reach the last epoch.
//	18 A retry excludes somebody, or the leader pauses first.
//	20 A seed gives one trace, of every byte in every message and record.
//	21 Damaged bytes do not pass for documents.
//
// # Runs
//
// Signatures outlive runs: a validator whose folder is lost may begin a new run
// of the same spec with the same key. So every document names its run, by a
// random id or by a roster that holds it, and one of another run is ignored. Of
// its own run a machine believes a COMMIT whoever brings it, for it is signed; but
// one that is beyond the next epoch, and would make it give up on its own state,
// only if a validator brings it. To sign two things for one place of one run is
// equivocation; to lead two runs is not, and divides nobody, since a member
// is in one run.
//
// # What it does not do
//
// The sum is not checked before it is certified: that an owner added rightly is
// for audits to find afterwards (commit.WrongSum); lists of inputs and results
// are signed for that. More than a third of a roster's members lying can stop
// an epoch, but cannot make the leader certify bytes that it does not hold. One
// validator decides; several need a replicated log in the place of its journal.
package reduce
