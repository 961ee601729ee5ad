package main

import (
	"encoding/json"

	"github.com/fairway-cni/fairway/pkg/attach"
)

// conf is the only key that concerns the mode.
type conf struct {
	IPAM json.RawMessage `json:"ipam"`
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return conf{}, err
	}
	if len(c.IPAM) > 0 && string(c.IPAM) != "null" {
		return conf{}, attach.Invalidf("key ipam is set: the container has the host's addresses and needs none of its own, remove key ipam")
	}
	return c, nil
}
