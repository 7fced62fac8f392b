// Package remote reads the files of a dataset repository on the Hugging Face
// Hub over HTTP: which files there are at a commit, and any range of their
// bytes. It knows nothing of what is in them.
//
//	ParseName  hf://datasets/OWNER/NAME@REVISION/PATH
//	Pin        the commit behind a revision
//	Repo.List  the files below a path, or of a configuration of the card
//	Repo.Range bytes of one of them, resumed, renewed, and checked to be the
//	           same file's throughout
//
// Start with name.go.
package remote
