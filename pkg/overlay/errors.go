package overlay

import (
	"errors"
	"fmt"
)

var (
	// ErrConfig says that a network or its peers cannot be as they are written.
	ErrConfig = errors.New("invalid overlay network")
	// ErrNoBlock says that the host has no block of the network to give addresses from.
	ErrNoBlock = errors.New("no block of the network")
	// ErrFenced says that the host may not give out addresses now.
	ErrFenced = errors.New("no addresses can be given out")
)

// problem is one sentence whose kind is for errors.Is only.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func invalidf(format string, args ...any) error {
	return &problem{kind: ErrConfig, text: fmt.Errorf(format, args...).Error()}
}
