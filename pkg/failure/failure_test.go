package failure

import (
	"errors"
	"io/fs"
	"testing"
)

func TestOf(t *testing.T) {
	kind, cause := errors.New("a kind"), &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}
	other := errors.New("another")
	err := Of(kind, "key x: %w, and %w: leave it out", cause, other)
	if want := "key x: open /x: permission denied, and another: leave it out"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var path *fs.PathError
	if !errors.Is(err, kind) || !errors.Is(err, fs.ErrPermission) || !errors.Is(err, other) || !errors.As(err, &path) {
		t.Errorf("%v hides what it is", err)
	}
	if errors.Is(Of(kind, "plain"), other) {
		t.Error("is of every kind")
	}
}
