package attach

import (
	"encoding/json"

	"github.com/fairway-cni/fairway/pkg/ipam"
)

// resolve completes the configuration, where the mode does.
func (m mode[C]) resolve(conf C, k *Kernel) (C, error) {
	if m.Resolve == nil {
		return conf, nil
	}
	return m.Resolve(conf, k)
}

// addressing is the IPAM plugin of a call: the one that key ipam names, or host-local with what the mode derives.
func (m mode[C]) addressing(c *call, conf C) (ipam.Request, error) {
	request := c.addressing()
	if m.IPAM == nil {
		return request, nil
	}
	stdin, err := withIPAM(c.stdin, m.IPAM(conf))
	request.Type, request.Stdin = "host-local", stdin
	return request, err
}

// withIPAM is the part of a network configuration that host-local reads, with another key ipam.
func withIPAM(stdin []byte, section any) ([]byte, error) {
	var conf struct {
		Name          string          `json:"name"`
		CNIVersion    string          `json:"cniVersion"`
		Capabilities  json.RawMessage `json:"capabilities,omitempty"`
		RuntimeConfig json.RawMessage `json:"runtimeConfig,omitempty"`
		Args          json.RawMessage `json:"args,omitempty"`
		Section       any             `json:"ipam"`
	}
	if err := Decode(stdin, &conf); err != nil {
		return nil, err
	}
	conf.Section = section
	return json.Marshal(conf)
}
