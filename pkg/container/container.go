package container

import (
	"errors"
	"slices"
)

// Container is one that runs, or several of one pod, which share a network namespace.
type Container struct {
	// ID is what CNI calls the container: what its runtime has called it in an ADD before, else as ctr and nerdctl do,
	// "NAMESPACE-ID" of containerd.
	ID string
	// Name is what people call it; never empty.
	Name string
	// Netns is the path of its network namespace.
	Netns string
	// Runtime is where it was found, for a person: "containerd namespace default".
	Runtime string

	// It answers to names as they are, and to IDs also by their beginning.
	names, ids []string
}

var (
	// ErrNotFound says that no container answers to a reference.
	ErrNotFound = errors.New("not found")
	// ErrNotRunning says that the container has no process, and so no network namespace.
	ErrNotRunning = errors.New("is not running")
	// ErrAmbiguous says that several containers answer to a reference.
	ErrAmbiguous = errors.New("is ambiguous")
)

// isName says whether CNI takes a text as a container ID: it is a file's name there.
func isName(s string) bool {
	for i, r := range []byte(s) {
		alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alnum && (i == 0 || !slices.Contains([]byte("_.-"), r)) {
			return false
		}
	}
	return s != ""
}
