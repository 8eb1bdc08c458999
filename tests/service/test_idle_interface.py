"""A real daemon never lets an interface stand idle that may do what waits."""

QUOTA = "limits: {windows: [{per: 5h, messages: 1}]}\ncost: {tier: subscription}\n"
SLOW = "limits: {concurrent: 1}\ncost: {tier: free}\n"


async def test_a_slot_that_comes_free_is_used_though_another_interface_is_waited_for(brain):
    """Four tasks for one slot beside a quota of one: all end, and none waits for the reset in five hours."""
    brain.echo("slow", "delay_seconds: 0.2", more=SLOW)
    brain.echo("counted", more=QUOTA)
    names = [f"t{number}" for number in range(4)]
    for name in names:
        brain.drop(f"{name}.md")
    async with brain.running() as running:
        await running.ended(*names)
    used = [row.interface for row in brain.rows()]
    assert used.count("slow") >= 3
    assert used.count("counted") <= 1
