// Package parquet reads one column of texts from a parquet file, page by page,
// out of bytes that somebody else fetches. No byte is believed: every size is
// checked before anything of that size is allocated, so that a damaged or
// hostile file is an error and never a crash, whatever it claims. The names of
// the format's parts are those of https://parquet.apache.org/docs/file-format/.
//
//	RowsOf       the number of rows, from the head of the footer
//	ParseFooter  where a column's pages lie
//	Column.Walk  the pages of one row group, by their headers
//	Column.Read  the texts of one page
//
// Thrift structures are decoded by parquet-go once thrift.go has walked over
// them; pages are decoded here. Errors are plain: the caller knows the file.
package parquet
