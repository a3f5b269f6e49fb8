"""Market data for a Python program: subscribe, look at ticks, ask for figures. No orders, no strategy.

    python examples/basic_usage.py            # by config/config.yaml; without one: a simulator, no key needed
    python examples/basic_usage.py --login    # log in at Kite before

Ctrl-C ends it.
"""

import sys

from kite_hft import DataFeedService, KiteAuthenticator, config

if "--login" in sys.argv:
    auth = KiteAuthenticator()  # keys from the vault; the page to log in on is shown
    if not auth.authenticate():
        sys.exit("no login")
    datafeed = DataFeedService(api_key=config.kite.api_key, access_token=auth.get_access_token())
else:
    datafeed = DataFeedService()

datafeed.subscribe([738561, 5633], mode="quote")  # NSE:RELIANCE, NSE:ACC; names are understood, too


def on_tick(tick):
    print(
        f"{tick.instrument:14} {tick.last_price:10.2f} {tick.change_percent:+7.3f} %  "
        f"volume {tick.volume_traded}"
    )


datafeed.add_tick_callback(on_tick)
datafeed.start()

stats = datafeed.get_statistics()
print(f"Ticks/second: {stats['ticks_per_second']}, connections: {stats['active_connections']}")
print(f"Buffer usage: {stats['buffer_usage']:.2%}")

datafeed.wait(5 if "--short" in sys.argv else None)

ticks = datafeed.get_latest_ticks(
    738561, count=1000
)  # arrays; pandas.DataFrame(ticks) takes them as they are
bars = datafeed.get_ohlc_bars(738561, count=100, period_s=1)
print(f"{len(ticks)} ticks of NSE:RELIANCE are kept, the last at {ticks['last_price'][-1]}")
print(f"{len(bars)} bars of a second, the last closed at {bars['close'][-1]}")
datafeed.stop()
