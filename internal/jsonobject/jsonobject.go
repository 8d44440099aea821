// Package jsonobject writes JSON objects member by member. It is for the few
// messages that are written once for every request: encoding/json, which looks
// each field up by reflection and checks what it has written, takes three times
// as long for them.
//
// Nothing is checked. A name that is given twice stands twice, and raw values
// have to be JSON.
package jsonobject

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Writer is an object that is being written.
type Writer struct {
	dst   []byte
	start int
}

// Begin opens an object at the end of dst.
func Begin(dst []byte) Writer {
	return Writer{dst: append(dst, '{'), start: len(dst)}
}

// End closes the object and gives dst with it.
func (w *Writer) End() []byte { return append(w.dst, '}') }

// Written gives the object as it stands, closed.
func (w *Writer) Written() []byte {
	return append(w.dst[w.start:len(w.dst):len(w.dst)], '}')
}

// name begins a member. Names are ours and need no escape.
func (w *Writer) name(name string) {
	if len(w.dst) > w.start+1 {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(w.dst, '"')
	w.dst = append(w.dst, name...)
	w.dst = append(w.dst, '"', ':')
}

// Text writes a string.
func (w *Writer) Text(name, value string) {
	w.name(name)
	w.dst = AppendText(w.dst, value)
}

// TextIf writes a string unless it is empty.
func (w *Writer) TextIf(name, value string) {
	if value != "" {
		w.Text(name, value)
	}
}

// Int writes a whole number.
func (w *Writer) Int(name string, value int64) {
	w.name(name)
	w.dst = strconv.AppendInt(w.dst, value, 10)
}

// IntIf writes a whole number unless it is 0.
func (w *Writer) IntIf(name string, value int64) {
	if value != 0 {
		w.Int(name, value)
	}
}

// Uint writes a whole number that is never negative.
func (w *Writer) Uint(name string, value uint64) {
	w.name(name)
	w.dst = strconv.AppendUint(w.dst, value, 10)
}

// Bool writes true or false.
func (w *Writer) Bool(name string, value bool) {
	w.name(name)
	w.dst = strconv.AppendBool(w.dst, value)
}

// Time writes a moment as encoding/json does.
func (w *Writer) Time(name string, value time.Time) {
	w.name(name)
	w.dst = append(w.dst, '"')
	w.dst = value.AppendFormat(w.dst, time.RFC3339Nano)
	w.dst = append(w.dst, '"')
}

// Value writes whatever encoding/json can.
func (w *Writer) Value(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	w.name(name)
	w.dst = append(w.dst, data...)
	return nil
}

// RawIf writes a value that is JSON already, unless it is empty. The name may
// be anybody's.
func (w *Writer) RawIf(name string, value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	if len(w.dst) > w.start+1 {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(AppendText(w.dst, name), ':')
	w.dst = append(w.dst, value...)
}

// AppendText appends a JSON string. What is not UTF-8 becomes U+FFFD.
func AppendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // it only ever complains of what it has replaced
	return dst
}
