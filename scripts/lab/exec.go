package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// errNotExecuted is a command that is there, and cannot be executed.
var errNotExecuted = errors.New("the command cannot be executed")

func (l lab) exec(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say on which host: %w", errUsage)
	}
	h, err := hosts()
	if err != nil {
		return err
	}
	place, err := find(h, args[0])
	if err != nil {
		return err
	}
	command := args[1:]
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		command = []string{cmp.Or(os.Getenv("SHELL"), "/bin/sh")}
	}
	// etcdctl would look for etcd on the host itself.
	endpoint := testnet.EtcdMember{Address: testnet.Gateway4}.Endpoint()
	if err := errors.Join(os.Setenv("ETCDCTL_API", "3"), os.Setenv("ETCDCTL_ENDPOINTS", endpoint)); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errNotExecuted, place.Execute(command...))
}

// find gives the namespaces of a host that is up, or of the underlay.
func find(h *testnet.Hosts, name string) (*testnet.Namespace, error) {
	if name == "underlay" {
		return h.Underlay, nil
	}
	number, err := strconv.Atoi(strings.TrimPrefix(name, "host"))
	if err != nil || number < 1 || number > len(h.All) {
		return nil, fmt.Errorf("there is no host %s: give 1 to %d, or underlay", name, len(h.All))
	}
	host := h.All[number-1]
	if !host.Alive() {
		return nil, fmt.Errorf("%s has been killed: take all down by `scripts/hosts down`, and raise them again", host.Name)
	}
	return host.Namespace, nil
}
