// Package server is a Hub of one's own: it serves a folder of repositories over
// the HTTP protocol of the Hugging Face Hub, so that Hugging Face's own clients,
// and ours, create, upload, commit, tag, list and download against it.
//
// # The folder
//
//	models/OWNER/NAME      a repository of package hub ([hub.Directory])
//	datasets/OWNER/NAME    likewise
//	private/               an empty file for each repository that is not public
//	uploads/               parts of large files that are being uploaded
//	views/                 data files under their names again, while rows are read
//	tokens                 who may read and write, one per line
//	secret                 the key that signs upload addresses
//
// Everything that was acknowledged is on disk: contents, then the commit, then
// the branch or tag, each synced, as package hub does it. Several servers, and
// programs that write a repository directly, may share the folder.
//
// # What it does not do
//
// Pull requests, discussions, spaces and Xet. Tags are never moved or deleted and
// repositories are not deleted over HTTP: what was published stays. Large files
// go by Git LFS; a client that would insist on Xet is told to send files of
// moderate size inside the commit.
package server
