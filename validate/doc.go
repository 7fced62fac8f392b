// Package validate decides whether what a miner signed is true, and what that
// is worth. It computes claims again, bit for bit; judges participation by what
// others signed; re-reduces chunks of an average; keeps evidence with which
// anybody can decide once more; and turns an epoch into integer scores and
// weights. It opens no connection: what needs the network comes in as a small
// interface.
//
// Start at Computer, which is the one path from assignment to claim, for miners
// and validators alike; then Judge, which compares; then Verify, which repeats
// both from evidence on disk.
package validate
