package main

import (
	"fmt"
	"strings"

	"github.com/fairway-cni/fairway/pkg/conflist"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// endpoints finds the networks of the flags. What is asked by flags of their own is asked of the first.
func endpoints(networks conflist.Networks, flags []string, first endpointFlags) (all []sandbox.Endpoint, host bool, err error) {
	if len(flags) == 0 {
		flags = []string{"bridge"}
	}
	var drivers []string
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
		endpoint, driver, err := endpointOn(networks, name, asked)
		if err != nil {
			return nil, false, err
		}
		all, drivers = append(all, endpoint), append(drivers, driver)
	}
	for i, driver := range drivers {
		if len(all) > 1 && (driver == "host" || driver == "null") {
			return nil, false, usageError{fmt.Errorf("--network %s cannot be combined with another network", all[i].Network.Name)}
		}
	}
	return all, drivers[0] == "host", nil
}

// endpointOn is a place on one network.
func endpointOn(networks conflist.Networks, name string, asked endpointFlags) (endpoint sandbox.Endpoint, driver string, err error) {
	request, err := asked.request()
	if err != nil {
		return endpoint, "", usageError{err}
	}
	network, err := networks.Find(name)
	if err != nil {
		return endpoint, "", err
	}
	switch network.Driver {
	case "host", "null":
		if len(request.IPs) > 0 || request.MAC != nil || request.IfName != "" || len(request.Aliases) > 0 {
			return endpoint, "", usageError{fmt.Errorf("--network %s: there is no address, name or interface to ask for", name)}
		}
		request.IfName = "lo" // the only one that is surely there
	default:
		if err := fits(network, request); err != nil {
			return endpoint, "", err
		}
	}
	request.File = network.File
	return sandbox.Endpoint{Network: network.List, Request: request}, network.Driver, nil
}

// parseNetworkFlag reads NETWORK[,KEY=VALUE…], where NETWORK may be written name=NETWORK as with Docker.
func parseNetworkFlag(text string) (name string, asked endpointFlags, err error) {
	for i, part := range strings.Split(text, ",") {
		key, value, isPair := strings.Cut(part, "=")
		if i == 0 && !isPair {
			key, value = "name", part
		}
		switch key {
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
		default:
			return "", asked, fmt.Errorf("--network %q: %q is none of name, ip, ip6, alias, mac-address, ifname", text, key)
		}
	}
	if name == "" {
		return "", asked, fmt.Errorf("--network %q: a network is missing", text)
	}
	return name, asked, nil
}

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
