package conflist

import (
	"errors"
	"fmt"
	"io/fs"
)

// Again reads a network from its file once more, for who holds a lock under which it cannot be removed. An empty file is that
// of a predefined network. The error wraps ErrNotFound when the network is not in the file any more.
func Again(file, name string) (Network, error) {
	if file == "" {
		return Predefined(name)
	}
	n, err := read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Network{}, err
	case n.Name == name:
		return n, nil
	}
	return Network{}, fmt.Errorf("network %s %w: it was removed concurrently", name, ErrNotFound)
}
