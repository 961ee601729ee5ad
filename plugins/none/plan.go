package main

import (
	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/state"
)

// conf is the only keys that concern the mode.
type conf struct {
	Type string `json:"type"`
	IPAM struct {
		Type string `json:"type"`
	} `json:"ipam"`
}

func parse(stdin []byte, _ attach.Env) (conf, error) {
	var c conf
	if err := attach.Decode(stdin, &c); err != nil {
		return conf{}, err
	}
	// Upstream's loopback takes no notice of the key, which configurations that serve several plugins may hold.
	if c.IPAM.Type != "" && c.Type != "loopback" {
		return conf{}, attach.Invalidf("key ipam.type is %q: a container without a network has no address to ask for, remove key ipam", c.IPAM.Type)
	}
	return c, nil
}

// plan declares the loopback, whatever interface the runtime names: there is no other.
func plan(conf, attach.Request, attach.Lease) (state.Set, attach.Result) {
	return state.Loopback(), attach.Result{
		Chained:    true,
		Interfaces: []attach.Interface{{Name: "lo", In: state.Container, Addresses: true}},
	}
}
