// Package commit holds the documents of an averaging round: what each peer
// says, signed, so that a third party can decide later who said what. If you
// want to run rounds, use package reduce; if you want to check a claim or a
// piece of evidence, you are in the right place.
//
// A document is a struct with integer CBOR keys, sealed by internal/signed
// under a domain of its own ("lockstep/claim/1" and so on). [Signed] couples a
// document with the envelope that proves who signed it; it comes only from
// [Seal] and [Open], so whoever holds one need not verify it again.
//
// In the order of the round:
//
//	Claim       a member's statement about its gradient: on which base state,
//	            from which text, which loss, how many tokens, which Merkle root
//	Roster      the leader names the members of one attempt, their claims and
//	            the part of the vector that each of them owns
//	Commitment  a member binds itself to its claimed root, salted
//	Set         the leader says that all commitments of the roster are in
//	Opening     a member shows root and salt
//	Header      the sender's word for one chunk: the digests of its leaves
//	Receipt     an owner's word for its part: from which inputs, which result
//	Vote        a member's word for the whole result, or why there is none
//	Decision    COMMIT or ABORT, exactly one for each attempt
//	Certificate a Decision with the signatures of enough validators
//	Complaint   a member names a peer that broke the round
//	Evidence    signed documents from which [Judge] re-decides a complaint
//
// # What the evidence rests on
//
// A roster names each member's claimed root, and an honest member signs
// nothing under a roster whose entry for it is not its own claim. So every
// document that carries a roster's digest also accepts that roster's roots, and
// a chunk header whose digests are not under the sender's claimed root convicts
// its signer wherever it is shown. All documents of an honest member are
// functions of its key, its gradient and the roster: after a crash it signs the
// same bytes again, so that two different ones are proof of a lie.
package commit
