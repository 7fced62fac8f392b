// Package swarm is a node at work: a miner that computes gradients and averages
// them with others, or the validator that checks, decides and scores. It joins
// what the other rooms know; it never prints, exits or reads the environment.
// [RunMiner] and [RunValidator] are the two loops, and an [Event] says what
// happened. If you want to train in one process, or to check a gradient, you do
// not need it: see packages model and validate.
//
// # One epoch
//
//	validator                                  miner
//	                                           compute the claim on the state of epoch e
//	ask for claims  (Train query)    <-------  sign it; freeze the gradient
//	recompute each, write evidence
//	open the averaging with those
//	that are right  (AllReduce query) <----->  take part, through reduce
//	journal the decision              ------>  with a certificate: step, save, sign the new state
//	step, write the record, save
//	show the record                   ------>  compare; who was not in it catches up
//	compare states, audit, time,
//	score, enter the ledger                    compute the claim of epoch e+2 meanwhile
//	ask a member to push              ------>  push the saved state: files, commit, tag
//
// Nothing that enters a result depends on a clock or on who came first: groups
// are in uid order, and a claim is right or not. Clocks decide only how long
// somebody is waited for, and the bandwidth score.
//
// Every miner may claim again in every epoch, also one that was found cheating,
// and is judged again.
//
// # Killed at any moment
//
// A miner saves its state after each step, whole or not at all. Killed before
// the save it comes back one epoch behind, and catches up: by the epoch's
// average if that is all that it lacks, else by the state, chunk by chunk, each
// checked against the certified root. A member that voted keeps its vote in the
// journal of package reduce.
//
// A validator journals its decision (reduce), then writes the epoch's record,
// then saves its state. So whatever it lost can be had again: with a decision
// and without a record it takes the average from the members; with a record and
// without the state, too. What it found and heard in an open epoch is in the
// epoch's docket, from which the epoch is settled after a restart.
//
// # Pushing
//
// The validator asks one miner after the other, lowest uid first, to push each
// epoch; a miner tries three times within a time limit, then the next one is
// asked, and the validator itself last. Epochs are pushed in ascending order and
// none is left out, so that tags have no gaps. Training never waits for it:
// states that are not in the repository yet stay on the nodes' disks and are
// pushed when it answers again. Disks have an end, though: beyond some tens of
// gigabytes, or when there is no room, a node gives up the oldest of them. Once
// nobody has the next epoch any more, nothing more can be published.
//
// A tag with another model than ours ends publishing, too, and is the run's
// result once its epochs are done.
//
// # Folders
//
//	DIR/run.json                  run spec; another one is refused here
//	DIR/run.id                    which run of that spec; see spec.RunID
//	DIR/lock                      held by the process that uses the folder
//	DIR/identity.key              ed25519 key, PKCS #8 in PEM, mode 0600
//	DIR/state/                    saved states: the newest two, and those that are not pushed
//	DIR/journal/member            votes and certificates (leader: rosters, decisions)
//	DIR/averages/                 the newest averages
//
// of a validator also
//
//	DIR/starts                    how often it was started
//	DIR/tagged                    how many epochs are in the repository
//	DIR/records/EPOCH.cbor        signed record of each certified epoch
//	DIR/epochs/EPOCH.json         docket: findings, attempts, measures, summary
//	DIR/convictions/              evidence of rounds whose epoch is not settled yet
//	DIR/ledger/                   hash-linked ledger of settled epochs
//	DIR/evidence/EPOCH-UID/       what decided each verdict
//
// of a local network
//
//	DIR/validator/, DIR/miner-UID/   one folder for each node
//	DIR/hub/NAME/                    repository
package swarm
