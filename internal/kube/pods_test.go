package kube

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What makes a pod is its workload: of a ReplicaSet that a Deployment made, the Deployment.
func TestPods(t *testing.T) {
	t.Parallel()
	made := func(kind, name string, controller bool) []Owner {
		return []Owner{{Kind: kind, Name: name, Controller: controller}}
	}
	hash := map[string]string{"pod-template-hash": "7d9f"}
	var p Pods
	if all, _ := p.All(); all != nil {
		t.Fatal("pods before the server told")
	}
	p.Replace([]Metadata{
		{UID: "1", Namespace: "payments", Name: "checkout-7d9f-abcde", Labels: hash, Owners: made("ReplicaSet", "checkout-7d9f", true)},
		{UID: "2", Namespace: "payments", Name: "old-abcde", Owners: made("ReplicaSet", "old", true)},
		{UID: "3", Namespace: "data", Name: "db-0", Labels: hash, Owners: made("StatefulSet", "db", true)},
		{UID: "4", Namespace: "kube-system", Name: "proxy-n1", Annotations: map[string]string{annotationHash: "6f1c"}, Owners: made("Node", "n1", true)},
		{UID: "5", Namespace: "default", Name: "alone", Owners: made("ConfigMap", "x", false)},
		{UID: "6", Namespace: "payments", Name: "odd-1", Labels: hash, Owners: made("ReplicaSet", "odd", true)},
	})
	want := map[string]Pod{
		"1":    {"payments/checkout-7d9f-abcde", "checkout", "Deployment"},
		"2":    {"payments/old-abcde", "old", "ReplicaSet"},
		"3":    {"data/db-0", "db", "StatefulSet"},
		"6f1c": {"kube-system/proxy-n1", "n1", "Node"},
		"5":    {"default/alone", "", ""},
		"6":    {"payments/odd-1", "odd", "ReplicaSet"},
	}
	check := func(when string) {
		t.Helper()
		all, _ := p.All()
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("listed")
	p.Delete(Metadata{UID: "5"})
	check("gone, with ports that cool down")
	p.Replace([]Metadata{{UID: "7", Namespace: "default", Name: "new"}})
	want["7"] = Pod{Name: "default/new"}
	check("listed anew")
	p.Unread(errors.New("away"))
	check("while the server is away")
	if _, err := p.All(); err == nil {
		t.Error("nobody says that the server is away")
	}
	for uid := range p.gone {
		p.gone[uid] = p.gone[uid].Add(-2 * goneFor)
	}
	p.Put(Metadata{UID: "1", Namespace: "payments", Name: "checkout-7d9f-abcde", Labels: hash, Owners: made("ReplicaSet", "checkout-7d9f", true)})
	p.Delete(Metadata{UID: "7"})
	want = map[string]Pod{"1": want["1"], "7": want["7"]}
	check("a quarter of an hour later")
}
