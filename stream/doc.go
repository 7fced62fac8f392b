// Package stream is where training data comes from: row number -> text ->
// tokens -> batch. It is the first four steps of an epoch, and each of them has
// a digest over documented bytes, so that two machines that disagree can say
// where (FORMATS.md, "Rows, tokens, assignment").
//
//	Open     a Source: rows of text, addressed by number (Remote.Open with settings)
//	Segments which rows a miner owes in an epoch
//	Load     those rows as inputs and targets
//	Check    reads a whole source and reports what is wrong with it
//	Show     one row and its tokens, for people
//	Ahead    tells a source which rows come next, Prefill waits for them
//
// A row's text depends on nothing but the source's files: not on which reader
// read it, nor on how its file is compressed. The package knows nothing of
// models. Start with source.go, then assign.go and pack.go; hf.go is the source
// that streams, over chunks.go and ahead.go.
package stream
