package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/fairway-cni/fairway/pkg/attachment"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/sandbox"
	"github.com/fairway-cni/fairway/pkg/state/ports"
)

// portFlags are what of a new container is published, as given.
type portFlags struct {
	publish, expose []string
	all             bool
}

func (o *portFlags) addFlags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&o.publish, "publish", "p", nil,
		"publish a `port` of the container, as [[IP:][HOST]:]CONTAINER[/PROTOCOL]; without HOST at a free one")
	flags.BoolVarP(&o.all, "publish-all", "P", false, "publish all exposed ports at free ports of the host")
	flags.StringArrayVar(&o.expose, "expose", nil, "a `port` that --publish-all publishes, or several in a row")
}

// offer is a port of the container for which one of the host's, from first to last, is still to be chosen. With last 0 it is
// chosen: HostPort.
type offer struct {
	ports.Port
	text        string
	first, last uint16
	// random: the host chooses, so that calls at once seldom choose the same. Else the first that is free.
	random bool
}

// offers reads the flags. The host chooses among local where they name no port of its own.
func (o portFlags) offers(local [2]uint16) ([]offer, error) {
	var all []offer
	for _, text := range o.publish {
		p, host, err := splitPort(text)
		if err != nil {
			return nil, fmt.Errorf("--publish: %w", err)
		}
		if host == "" {
			all = append(all, eachOf(p, text, local)...)
			continue
		}
		first, more, err := parseRange(host)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--publish: port %s: %w", text, err)
		case more > 0 && p.More == 0: // Docker: the first that is free
			all = append(all, offer{Port: p, text: text, first: first, last: first + more})
			continue
		}
		if err := publishAt(&p, text, first, more); err != nil {
			return nil, fmt.Errorf("--publish: %w", err)
		}
		all = append(all, offer{Port: p, text: text})
	}
	for _, text := range o.expose {
		p, _, err := splitPort(text)
		if err != nil || strings.Contains(text, ":") {
			return nil, fmt.Errorf("--expose %s: give CONTAINER[/PROTOCOL], such as 80 or 8000-8009/udp", text)
		}
		if o.all {
			all = append(all, eachOf(p, text, local)...)
		}
	}
	return all, nil
}

// eachOf offers each port of a row by itself.
func eachOf(p ports.Port, text string, local [2]uint16) (all []offer) {
	for _, single := range p.Singles() {
		all = append(all, offer{Port: single, text: text, first: local[0], last: local[1], random: true})
	}
	return all
}

// choose chooses ports of the host; taken tells which are not free.
func choose(offers []offer, taken func(protocol uint8, port uint16) bool) ([]ports.Port, error) {
	var chosen []ports.Port
	used := map[ports.Key]bool{}
	for _, o := range offers {
		free := func(port uint16) bool {
			o.HostPort = port
			return !taken(o.Protocol, port) && !used[o.Key()]
		}
		if o.last != 0 {
			candidates := int(o.last) - int(o.first) + 1
			start := 0
			if o.random {
				start = rand.IntN(candidates)
			}
			i := 0
			for i < candidates && !free(o.first+uint16((start+i)%candidates)) {
				i++
			}
			if i == candidates {
				return nil, fmt.Errorf("--publish %s: none of the host's ports %d to %d is free: choose others", o.text, o.first, o.last)
			}
		}
		used[o.Key()] = true
		chosen = append(chosen, o.Port)
	}
	return chosen, nil
}

// publishing gives the ports to the first network that publishes ports. Nothing is published on the host's network, nor on none, as
// with Docker.
func (e *env) publishing(spec *sandbox.Spec, o portFlags) error {
	local := localPorts()
	offers, err := o.offers(local)
	switch {
	case err != nil:
		return usageError{err}
	case len(offers) == 0:
		return nil
	case spec.HostNetwork || spec.Endpoints[0].Request.IfName == "lo":
		e.warn(fmt.Errorf("--publish: on network %s no port is published", spec.Endpoints[0].Network.Name))
		return nil
	}
	at := slices.IndexFunc(spec.Endpoints, func(e sandbox.Endpoint) bool { return attachment.Publishes(e.Network) })
	if at < 0 {
		return usageError{fmt.Errorf("--publish: network %s publishes no ports: no plugin of it has the capability portMappings", spec.Endpoints[0].Network.Name)}
	}
	k, err := kernel.Open("")
	if err != nil {
		return err
	}
	defer k.Close()
	taken, err := takenPorts(k)
	if err != nil {
		return err
	}
	spec.Endpoints[at].Request.Ports, err = choose(offers, taken)
	return err
}

// takenPorts tells which ports of the host are published, or have a program that listens, at any address.
func takenPorts(k *kernel.Kernel) (func(protocol uint8, port uint16) bool, error) {
	published, err := ports.ByOwner(k)
	if err != nil {
		return nil, err
	}
	type local struct {
		protocol uint8
		port     uint16
	}
	listening := map[local]bool{}
	for _, name := range []string{"tcp", "udp"} {
		protocol, _ := ports.ProtocolNumber(name)
		sockets, err := k.ListeningSockets(protocol)
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			listening[local{protocol, s.Local.Port()}] = true
		}
	}
	return func(protocol uint8, port uint16) bool {
		return listening[local{protocol, port}] || ports.Taken(published, protocol, port)
	}, nil
}

// localPorts are the first and last of the ports that the host gives by itself (ip_local_port_range).
func localPorts() (local [2]uint16) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &local[0], &local[1])
	}
	if err != nil || local[0] == 0 || local[1] < local[0] {
		return [2]uint16{32768, 60999} // the kernel's default
	}
	return local
}
