"""The chart and the image on a real Kubernetes: what only a cluster can show.

By default the tests start a node on this machine, which needs Linux and root. To use a cluster of
your own, start Kafka and `asset-sync pim-simulator` where its pods and the tests reach them:

    pytest tests/cluster --kubeconfig=FILE --cluster-broker=HOST:PORT --cluster-pim=URL \
        --cluster-image=REPOSITORY:TAG

Each option is also a variable (TEST_KUBECONFIG, TEST_CLUSTER_BROKER and so on), which `make
test-cluster` takes. What needs to stop Kafka is skipped there.

`make test-cluster ADDONS=1` builds kube-router and KEDA once, and also runs their tests: that
NetworkPolicies are enforced, and that replicas follow the lag. CI leaves them out.
"""
