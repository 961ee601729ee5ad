package nftable

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/nftables"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Comment is that of the i-th of a chain's rules: the version of the layout, its place among how many, and the reason. By it, rules
// that are lost, replaced or of another release are told by one listing of comments, which ADD can afford.
func Comment(version string, i, total int, why string) string {
	return fmt.Sprintf("%s %d/%d %s", version, i+1, total, why)
}

// Standing says whether a chain has its rules: those of a version, all of them, and no others.
func Standing(k *kernel.Kernel, table *nftables.Table, chain, version string) (bool, error) {
	// Any transaction interrupts a listing, also of another's element. Rules that were all seen are there.
	const tries = 16
	for range tries {
		count, total, sound := 0, 0, true
		err := k.EachRuleComment(table, chain, func(comment []byte) {
			count++
			var place int
			place, total = placeIn(comment, version)
			sound = sound && place == count
		})
		if complete := sound && count > 0 && count == total; complete || !errors.Is(err, kernel.ErrInterrupted) {
			return complete, ignoreInterrupted(err)
		}
	}
	return false, nil // to be written afresh does no harm
}

func ignoreInterrupted(err error) error {
	if errors.Is(err, kernel.ErrInterrupted) {
		return nil
	}
	return err
}

// placeIn reads a comment of a version: which rule of how many. Zero: it is none.
func placeIn(comment []byte, version string) (place, total int) {
	rest, ok := bytes.CutPrefix(comment, []byte(version+" "))
	if !ok {
		return 0, 0
	}
	where, _, _ := bytes.Cut(rest, []byte{' '})
	first, last, _ := bytes.Cut(where, []byte{'/'})
	place, err := strconv.Atoi(string(first))
	if err != nil {
		return 0, 0
	}
	total, err = strconv.Atoi(string(last))
	if err != nil {
		return 0, 0
	}
	return place, total
}
