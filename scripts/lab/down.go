package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

func (l lab) down(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("down takes away all hosts, and no arguments: %w", errUsage)
	}
	file, err := lock()
	if err != nil {
		return err
	}
	defer file.Close()
	h, err := testnet.OpenHosts(dir)
	switch {
	case errors.Is(err, testnet.ErrNoHosts):
		err = os.RemoveAll(dir) // an `up` was cut short before there was a host
	case err == nil:
		err = h.Close()
	}
	if err != nil {
		return err
	}
	if err := os.Remove(base); err != nil {
		return err
	}
	fmt.Println("The hosts are down, and nothing is left of them.")
	return nil
}
