package agentapi

import (
	"errors"
	"net/http"
)

var (
	// ErrNoAgent says that nobody listens on the socket.
	ErrNoAgent = errors.New("fairwayd is not running")
	// ErrInvalid says that a definition cannot be used.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound says that there is no network of that name.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a network of that name, or with that VNI or an overlapping subnet, is there already.
	ErrExists = errors.New("exists already")
	// ErrInUse says that hosts have containers on the network.
	ErrInUse = errors.New("in use")
	// ErrUnavailable says that the agent cannot reach etcd; trying again may help.
	ErrUnavailable = errors.New("not available")
)

// kinds are the errors that pass through the API, by the name they have there.
var kinds = []struct {
	name   string
	status int
	err    error
}{
	{"invalid", http.StatusBadRequest, ErrInvalid},
	{"notFound", http.StatusNotFound, ErrNotFound},
	{"exists", http.StatusConflict, ErrExists},
	{"inUse", http.StatusConflict, ErrInUse},
	{"unavailable", http.StatusServiceUnavailable, ErrUnavailable},
}

// Error is the body of each response that is not a success. It is one of the errors above to errors.Is.
type Error struct {
	// Kind is invalid, notFound, exists, inUse, unavailable or, for anything else, internal.
	Kind string `json:"kind"`
	// Sentence says what to change.
	Sentence string `json:"error"`
}

// NewError is an error as the API reports it, and the status of the response.
func NewError(err error) (body Error, status int) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return Error{Kind: k.name, Sentence: err.Error()}, k.status
		}
	}
	return Error{Kind: "internal", Sentence: err.Error()}, http.StatusInternalServerError
}

func (e Error) Error() string { return e.Sentence }

// Is makes an error of the API equal to the error of its kind.
func (e Error) Is(target error) bool {
	for _, k := range kinds {
		if k.name == e.Kind {
			return k.err == target
		}
	}
	return false
}
