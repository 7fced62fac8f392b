// Package hub keeps models: in a repository with commits and tags, in a folder,
// and in the state files from which a node goes on after a stop. It knows
// nothing of networks of miners or of what a model computes; tensors are names,
// shapes and numbers. Programs that only read or write weights want
// lockstep/hub/safetensors alone.
//
// # Repository
//
// A [Repository] is what the Hugging Face Hub is to its clients: files by path,
// commits that follow one another on the branch main, tags that never move.
// [Directory] keeps one in a local folder, safe against crashes at any moment
// and against several processes that push at once. [PushEpoch] publishes one
// epoch: a commit, then a tag with the epoch's number, with a bounded number of
// attempts; done twice, or by two miners, it is done once.
//
// # Models
//
// [ParseModel] tells what a name on the command line means, [OpenModel] opens
// it; package safetensors reads the weights.
//
// # State files
//
// [SaveState] and [LoadState] keep parameters, moments and position; a damaged
// newest file costs one step back, not the run.
//
// # Determinism
//
// No clock and no random number enters a file: equal content has equal commit
// ids. Waiting is done by a function that the caller passes.
package hub
