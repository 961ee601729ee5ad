package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/fairway-cni/fairway/pkg/attach"
	"github.com/fairway-cni/fairway/pkg/golden"
	"github.com/fairway-cni/fairway/pkg/plantest"
)

func TestPlan(t *testing.T) {
	stable := stableMAC(t)
	for _, tt := range plans() {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.ReplaceAll(describe(t, tt), stable, "STABLE")
			golden.Compare(t, tt.name+".golden", got)
		})
	}
}

// stableMAC is the owner's, which is another on every host.
func stableMAC(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`address (\S+) `).FindStringSubmatch(describe(t, planned{conf: `{}`}))
	if found == nil {
		t.Fatal("no MAC without a key mac")
	}
	return found[1]
}

func describe(t *testing.T, p planned) string {
	t.Helper()
	c, err := parse([]byte(p.conf), attach.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return plantest.Describe(plan(c, attach.Request{Owner: owner, Removal: p.removal}, p.lease))
}
