// Package failure makes errors that are one sentence for whoever can mend them, and of a kind for the program. It is pure.
package failure

import "fmt"

// Of is an error of a kind: errors.Is and errors.As find the kind, and what the format wraps with %w, while the text is that of the
// format alone. The kind is an error to compare with, or any other error whose type tells something, as those of encoding/json
// do.
func Of(kind error, format string, args ...any) error {
	return &failure{kind: kind, sentence: fmt.Errorf(format, args...)}
}

type failure struct{ kind, sentence error }

func (f *failure) Error() string   { return f.sentence.Error() }
func (f *failure) Unwrap() []error { return []error{f.kind, f.sentence} }
