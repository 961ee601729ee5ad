package blueprint

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/pools"
)

// Order is what a person asks for: the options of `docker network create`, as they were written.
type Order struct {
	Name   string
	Driver string // Docker's name, or a plugin's; empty: bridge, or that of ConfigFrom
	// Subnets, Ranges (CIDR) and Gateways belong together by the subnet they lie in, in any order.
	Subnets, Ranges, Gateways []string
	Aux                       []string // NAME=ADDRESS each
	IPAMDriver                string   // empty or "default": host-local; "null" or "none": no addresses; else a plugin's name
	IPAMOptions               []string // KEY=VALUE each, for another IPAM plugin
	NoIPv4                    bool     // do not choose an IPv4 subnet when none is given
	IPv6                      bool     // choose an IPv6 subnet when none is given
	Internal                  bool
	Attachable                bool
	Scope                     string // empty: the driver's
	Options                   []string
	Labels                    []string
	ConfigFrom                string // name or ID of the network whose configuration is copied
	ConfigOnly                bool
}

// Site is where the network is to be.
type Site struct {
	Networks conflist.Networks
	Host     pools.Host
	Plugins  Plugins
	Now      time.Time
}

// Plugins tells what is installed.
type Plugins interface {
	// Versions are the versions of CNI that a plugin knows. The error wraps driver.ErrNoPlugin when there is none of that type.
	Versions(ctx context.Context, plugin string) ([]string, error)
	// Fairway says whether the plugin of that type is this project's.
	Fairway(ctx context.Context, plugin string) bool
}

// pairs reads KEY=VALUE each. The second of a key is refused: one of the two would be ignored.
func pairs(what string, texts []string) (map[string]string, error) {
	values := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		if key == "" {
			return nil, fmt.Errorf("%s %q: write KEY=VALUE", what, text)
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("%s %s is given twice: give it once", what, key)
		}
		values[key] = value
	}
	return values, nil
}
