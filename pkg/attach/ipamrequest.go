package attach

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/ipam"
)

// addressing is the IPAM plugin of a call: the one that key ipam names, or host-local with what the mode derives.
func (m mode[C]) addressing(c *call, conf C) (ipam.Request, error) {
	request := c.addressing()
	switch {
	case m.NoAddresses:
		request.Type = ""
		return request, nil
	case m.IPAM == nil:
		return request, nil
	}
	stdin, err := withIPAM(c.stdin, m.IPAM(conf))
	request.Type, request.Stdin = "host-local", stdin
	return request, err
}

// addressingForDel is the IPAM plugin of a DEL. A key ipam that was removed since ADD, or that cannot be read, names none: then
// the address is looked for where host-local keeps it by default.
func (m mode[C]) addressingForDel(c *call, conf C) (ipam.Request, error) {
	if m.NoAddresses || m.IPAM != nil || c.conf.IPAM.Type != "" {
		return m.addressing(c, conf)
	}
	return c.defaultAddressing()
}

// defaultAddressing is host-local with the defaults of its keys.
func (c *call) defaultAddressing() (request ipam.Request, err error) {
	request = c.addressing()
	request.Type = "host-local"
	request.Stdin, err = withIPAM(c.stdin, map[string]string{"type": request.Type})
	return request, err
}

// release gives back what the owner of a DEL holds of host-local's addresses.
func (c *call) release(ctx context.Context, request ipam.Request) error {
	err := ipam.HostLocal{Request: request}.Del(ctx)
	if err == nil || cnierr.Code(err) != cnierr.Decode {
		return err
	}
	slog.Warn("configuration is invalid: the address is looked for in host-local's default directory", "error", cnierr.Sentence(err))
	if request, err = c.defaultAddressing(); err != nil {
		return err
	}
	return ipam.HostLocal{Request: request}.Del(ctx)
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
