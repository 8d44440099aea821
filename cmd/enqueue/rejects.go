package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"waybill/cmd/internal/sheet"
)

// rejects is the file of rejected rows, made with the first of them. It can be
// mended and imported as it is: the columns that say why are left out then.
type rejects struct {
	path  string
	sheet *sheet.Sheet
	file  *os.File
	csv   *csv.Writer
}

// add writes a row with the reason.
func (r *rejects) add(row sheet.Row, reason error) error {
	if r.file == nil {
		if err := r.create(); err != nil {
			return err
		}
	}
	var columns, reasons []string
	for _, fault := range sheet.Faults(reason) {
		columns = append(columns, fault.Field)
		reasons = append(reasons, fault.Mend)
	}
	record := []string{strconv.Itoa(row.Number), strconv.Itoa(row.Line), strings.Join(columns, ", "), strings.Join(reasons, "; "), row.Text}
	if err := r.csv.Write(append(record, r.sheet.Imported(row.Fields)...)); err != nil {
		return fmt.Errorf("write rejected rows: %w", err)
	}
	return nil
}

func (r *rejects) create() error {
	file, err := os.Create(r.path)
	if err != nil {
		return fmt.Errorf("write rejected rows: %w", err)
	}
	r.file = file
	if r.csv, err = r.sheet.Writer(file); err != nil {
		return fmt.Errorf("write rejected rows: %w", err)
	}
	var header []string
	for _, name := range []string{"row", "line", "column", "reason", "text"} {
		header = append(header, sheet.IgnoredPrefix+name)
	}
	if err := r.csv.Write(append(header, r.sheet.Imported(r.sheet.Header())...)); err != nil {
		return fmt.Errorf("write rejected rows: %w", err)
	}
	return nil
}

func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	r.csv.Flush()
	if err := errors.Join(r.csv.Error(), r.file.Close()); err != nil {
		return fmt.Errorf("write rejected rows: %w", err)
	}
	return nil
}

// oneLine shows joined errors side by side.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
