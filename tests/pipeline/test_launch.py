def test_it(swept):
    print(swept.printed, swept.status)
    for r in swept.runs():
        print(
            r.info.run_name,
            r.data.tags["gansweep.status"],
            r.data.tags["gansweep.reason"],
            r.data.params["optimizer.discriminator_lr"],
            {k: v for k, v in r.data.metrics.items() if "dist" in k or "kimg" in k},
        )
    for t in swept.trials():
        print(t.number, t.state, t.values, {k: v for k, v in t.user_attrs.items() if k != "params"})
