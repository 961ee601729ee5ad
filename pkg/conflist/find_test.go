package conflist

import (
	"errors"
	"testing"
)

func TestFind(t *testing.T) {
	ns := Networks{All: []Network{
		{Name: "web", ID: "aaa1"}, {Name: "aaa", ID: "bbb1"}, {Name: "db", ID: "aab1"}, {Name: "bbb1", ID: "ccc1"},
	}}
	for _, test := range []struct {
		ref, want string
		err       error
	}{
		{ref: "web", want: "web"},
		{ref: "aaa1", want: "web"},
		{ref: "aaa", want: "aaa"},  // a name goes before the beginning of an ID
		{ref: "bbb1", want: "aaa"}, // a whole ID goes before a name
		{ref: "cc", want: "bbb1"},
		{ref: "aa", err: ErrAmbiguous},
		{ref: "ddd", err: ErrNotFound},
		{ref: "WEB", err: ErrNotFound},
		{ref: "", err: ErrNotFound},
	} {
		got, err := ns.Find(test.ref)
		if !errors.Is(err, test.err) || got.Name != test.want {
			t.Errorf("Find(%q): got %q, %v, want %q, %v", test.ref, got.Name, err, test.want, test.err)
		}
	}
}
