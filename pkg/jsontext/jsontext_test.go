package jsontext

import (
	"encoding/json"
	"testing"
)

// FuzzString holds each string against what encoding/json writes.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c", "<&>", "\x00\x1f\x7f", "ü\u2028", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var w Writer
		if w.String(s); string(w.Bytes()) != string(want) {
			t.Errorf("%q is written as %s, not %s", s, w.Bytes(), want)
		}
	})
}

func TestWriter(t *testing.T) {
	var w Writer
	w.Open('{')
	w.Member("empty", "")
	w.Number("zero", 0)
	w.List("none", nil)
	w.Member("a", "x")
	w.List("b", []string{"y", "z"})
	w.Key("c")
	w.Open('[')
	w.Open('{')
	w.Close('}')
	w.Open('{')
	w.Number("n", -1)
	w.Close('}')
	w.Bool(true)
	w.Uint(1 << 63)
	w.Close(']')
	w.Key("d")
	w.Int(0)
	w.Close('}')
	if got, want := string(w.Bytes()), `{"a":"x","b":["y","z"],"c":[{},{"n":-1},true,9223372036854775808],"d":0}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
