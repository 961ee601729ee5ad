package state

import "github.com/fairway-cni/fairway/pkg/kernel"

// Place says in which namespace an object lies.
type Place int

const (
	// Host is the namespace the process runs in.
	Host Place = iota
	// Container is the namespace of the request.
	Container
)

func (p Place) String() string {
	if p == Container {
		return "container"
	}
	return "host"
}

// In is the namespace of a place.
func (p Place) In(k *kernel.Kernel) *kernel.Namespace {
	if p == Container {
		return k.Container
	}
	return k.Host
}

// placed is implemented by objects that may lie in the container's namespace.
type placed interface{ Place() Place }

// Where says in which namespace an object lies: the host's, unless it says otherwise.
func Where(o Object) Place {
	if p, ok := own(o).(placed); ok {
		return p.Place()
	}
	return Host
}
