package rescue

import (
	"errors"
	"io/fs"
	"regexp"
	"testing"
)

func TestPanic(t *testing.T) {
	var nothing []int
	var nowhere *struct{ n int }
	for _, tt := range []struct {
		name string
		f    func() error
		want string
	}{
		{"a bound", func() error { _ = nothing[3]; return nil },
			`^bug in rescue/rescue_test\.go:\d+: runtime error: index out of range \[3\] with length 0: please report it with this text$`},
		{"a nil pointer", func() error { _ = nowhere.n; return nil }, `^bug in rescue/rescue_test\.go:\d+: runtime error: invalid memory address`},
		{"a text", func() error { panic("no way") }, `^bug in rescue/rescue_test\.go:\d+: no way: `},
		{"an error", func() error { panic(fs.ErrNotExist) }, `^bug in rescue/rescue_test\.go:\d+: file does not exist: `},
		{"nil", func() error { panic(nil) }, `^bug in rescue/rescue_test\.go:\d+: panic called with nil argument`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := func() (err error) {
				defer Panic(&err)
				return tt.f()
			}()
			if err == nil || !regexp.MustCompile(tt.want).MatchString(err.Error()) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if !errors.Is(err, ErrPanic) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v wraps more than ErrPanic, or not that", err)
			}
		})
	}
}

// TestNoPanic leaves the function's own error alone.
func TestNoPanic(t *testing.T) {
	own := errors.New("own")
	for _, want := range []error{nil, own} {
		err := func() (err error) {
			defer Panic(&err)
			return want
		}()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}
