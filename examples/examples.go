// Package examples holds files to try waybill with, for the programs that
// show it.
package examples

import _ "embed"

// Invoices is invoices.csv: a table for enqueue csv, with rows that repeat
// and rows that are wrong.
//
//go:embed invoices.csv
var Invoices []byte
