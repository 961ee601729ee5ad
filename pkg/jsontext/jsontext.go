// Package jsontext writes JSON token by token, as encoding/json does it for structs. What that package finds out about a struct when
// it first meets it costs a plugin, which lives for some milliseconds, more than a request to the kernel. It is pure.
package jsontext

import (
	"encoding/json"
	"strconv"
)

// Writer appends tokens, with commas where they belong. The zero value is ready.
type Writer struct {
	text []byte
	// follows: a token before has to be parted by a comma from the next.
	follows bool
}

// Bytes is what was written.
func (w *Writer) Bytes() []byte { return w.text }

// Open begins an object or a list by its bracket.
func (w *Writer) Open(bracket byte) {
	w.part()
	w.text, w.follows = append(w.text, bracket), false
}

// Close ends one.
func (w *Writer) Close(bracket byte) { w.text, w.follows = append(w.text, bracket), true }

// Key begins a member of an object; its value comes next.
func (w *Writer) Key(key string) {
	w.String(key)
	w.text, w.follows = append(w.text, ':'), false
}

// String writes a string.
func (w *Writer) String(s string) {
	w.part()
	w.text = appendString(w.text, s)
}

// Int writes a whole number.
func (w *Writer) Int(n int64) {
	w.part()
	w.text = strconv.AppendInt(w.text, n, 10)
}

// Uint writes a whole number.
func (w *Writer) Uint(n uint64) {
	w.part()
	w.text = strconv.AppendUint(w.text, n, 10)
}

// Bool writes true or false.
func (w *Writer) Bool(b bool) {
	w.part()
	w.text = strconv.AppendBool(w.text, b)
}

// Member writes a member that is a string, unless it is empty.
func (w *Writer) Member(key, value string) {
	if value != "" {
		w.Key(key)
		w.String(value)
	}
}

// Number writes a member that is a whole number, unless it is 0.
func (w *Writer) Number(key string, value int) {
	if value != 0 {
		w.Key(key)
		w.Int(int64(value))
	}
}

// List writes a member that is a list of strings, unless it is empty.
func (w *Writer) List(key string, values []string) {
	if len(values) == 0 {
		return
	}
	w.Key(key)
	w.Open('[')
	for _, value := range values {
		w.String(value)
	}
	w.Close(']')
}

// part parts a token from the one before.
func (w *Writer) part() {
	if w.follows {
		w.text = append(w.text, ',')
	}
	w.follows = true
}

// appendString quotes what has to be quoted as encoding/json does it.
func appendString(text []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // of a string it cannot fail
			return append(text, quoted...)
		}
	}
	text = append(text, '"')
	text = append(text, s...)
	return append(text, '"')
}
