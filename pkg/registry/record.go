package registry

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

// The readers of records: what they refuse is left out and named, whoever wrote it.

// readDefinition reads a network that Create may have written. Any other, made by hand, would have hosts count blocks that
// cannot be.
func readDefinition(name string, value []byte) (n agentapi.Network, err error) {
	if err := json.Unmarshal(value, &n); err != nil {
		return n, err
	}
	if n.Name != name {
		return n, fmt.Errorf("it is of network %q", n.Name)
	}
	complete, err := Complete(n)
	if err == nil && (n.VNI == 0 || !sameDefinition(complete, n)) {
		err = invalidf("vni or a blockLength is missing: make networks by fairwayd, which chooses them")
	}
	return n, err
}

func readNode(value []byte) (n Node, err error) {
	if err := json.Unmarshal(value, &n); err != nil {
		return n, err
	}
	n.VTEP = n.VTEP.Unmap()
	return n, overlay.CheckVTEP(n.VTEP)
}

func readOwner(value []byte) (string, error) {
	return string(value), CheckNode(string(value))
}

func readPin(value []byte) (p Pin, err error) {
	if err := json.Unmarshal(value, &p); err != nil {
		return p, err
	}
	if p.Node == "" {
		return p, errors.New("it names no node")
	}
	return p, nil
}
