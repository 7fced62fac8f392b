package reduce

// mutant is a defect that the tests plant to prove that the simulator finds it.
// It is zero everywhere else.
type mutant uint8

const (
	sound               mutant = iota
	applyUncertified           // a member applies as soon as it has voted
	sumByArrival               // an owner adds gradients in the order in which they came
	dropSender                 // an owner leaves one gradient out of the sum
	acceptUnopened             // an owner does not compare chunks with the opened digests
	acceptStaleRoster          // a member joins a roster of an attempt that is over
	acceptPastRun              // members and observers take decisions of another run
	forgetCharges              // a leader does not remember who accused whom
	forgiveEquivocation        // a leader does not mind two documents for one place
	forgetDocuments            // a leader keeps no votes and receipts with its decision
	decideTwice                // a leader decides again when another vote comes
)
