package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/driver"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// endpoints finds the networks of the flags. What is asked by flags of their own is asked of the first.
func endpoints(networks conflist.Networks, flags []string, first endpointFlags) (all []sandbox.Endpoint, host bool, err error) {
	if len(flags) == 0 {
		flags = []string{"bridge"} // the predefined one, also where others have made a network called default
	}
	var drivers []driver.Driver
	var priorities []int
	for i, text := range flags {
		name, asked, err := parseNetworkFlag(text)
		if err != nil {
			return nil, false, usageError{err}
		}
		if i == 0 {
			if asked, err = asked.with(first); err != nil {
				return nil, false, usageError{err}
			}
		}
		endpoint, of, err := endpointOn(networks, name, asked)
		if err != nil {
			return nil, false, err
		}
		// Docker: the network of the highest priority has the default route.
		at := slices.IndexFunc(priorities, func(other int) bool { return other < asked.priority })
		if at < 0 {
			at = len(all)
		}
		all, drivers, priorities = slices.Insert(all, at, endpoint), slices.Insert(drivers, at, of), slices.Insert(priorities, at, asked.priority)
	}
	for i, of := range drivers {
		if len(all) > 1 && of.Fixed != "" {
			return nil, false, usageError{fmt.Errorf("--network %s cannot be combined with another network", all[i].Network.Name)}
		}
	}
	return all, drivers[0].SharesHost, nil
}

// endpointOn is a place on one network.
func endpointOn(networks conflist.Networks, name string, asked endpointFlags) (endpoint sandbox.Endpoint, of driver.Driver, err error) {
	request, err := asked.request()
	if err != nil {
		return endpoint, of, usageError{err}
	}
	network, err := networks.Find(name)
	if err != nil {
		return endpoint, of, err
	}
	of = driver.Of(network.Driver)
	switch {
	case of.Fixed != "":
		if len(request.IPs) > 0 || request.MAC != nil || request.IfName != "" || len(request.Aliases) > 0 {
			return endpoint, of, usageError{fmt.Errorf("--network %s: there is no address, name or interface to ask for", name)}
		}
		request.IfName = "lo" // the only one that is surely there
	default:
		if err := fits(network, request); err != nil {
			return endpoint, of, err
		}
	}
	request.File = network.File
	return sandbox.Endpoint{Network: network.List, Request: request}, of, nil
}

// networkKeys are what may be asked of a network in the flag.
const networkKeys = "name, ip, ip6, alias, mac-address, ifname, gw-priority, driver-opt"

// parseNetworkFlag reads NETWORK[,KEY=VALUE…], where NETWORK may be written name=NETWORK, and values with commas be quoted, as with Docker.
func parseNetworkFlag(text string) (name string, asked endpointFlags, err error) {
	in := csv.NewReader(strings.NewReader(text))
	parts, err := in.Read()
	if _, more := in.Read(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("it has several lines")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", asked, fmt.Errorf("--network %q: give NETWORK,KEY=VALUE…, and quote a whole part: %w", text, err)
	}
	for i, part := range parts {
		key, value, isPair := strings.Cut(part, "=")
		if i == 0 && !isPair {
			key, value = "name", part
		}
		switch strings.ToLower(key) {
		case "name":
			name = value
		case "ip":
			asked.ip = value
		case "ip6":
			asked.ip6 = value
		case "alias":
			asked.aliases = append(asked.aliases, value)
		case "mac-address":
			asked.mac = value
		case "ifname":
			asked.ifname = value
		case "gw-priority":
			if asked.priority, err = strconv.Atoi(value); err != nil {
				return "", asked, fmt.Errorf("--network %q: gw-priority is %q: give a whole number", text, value)
			}
		case "driver-opt":
			if asked.ifname, isPair = strings.CutPrefix(value, ifNameOption+"="); !isPair {
				return "", asked, fmt.Errorf("--network %q: driver-opt %q: there is %s=NAME alone", text, value, ifNameOption)
			}
		default:
			return "", asked, fmt.Errorf("--network %q: %q is none of %s", text, key, networkKeys)
		}
	}
	if name == "" {
		return "", asked, fmt.Errorf("--network %q: a network is missing", text)
	}
	return name, asked, nil
}

// ifNameOption is Docker's name for the interface's.
const ifNameOption = "com.docker.network.endpoint.ifname"

// with adds what is asked for by other flags. What these say already is an error, as one of the two would be ignored.
func (o endpointFlags) with(more endpointFlags) (endpointFlags, error) {
	for _, field := range []struct {
		flag       string
		own, other *string
	}{
		{"ip", &o.ip, &more.ip}, {"ip6", &o.ip6, &more.ip6}, {"mac-address", &o.mac, &more.mac}, {"ifname", &o.ifname, &more.ifname},
	} {
		if *field.own != "" && *field.other != "" {
			return o, fmt.Errorf("--%s %s and --network …,%s=%s ask for the same: give one", field.flag, *field.other, field.flag, *field.own)
		}
		*field.own += *field.other
	}
	o.aliases = append(o.aliases, more.aliases...)
	return o, nil
}
