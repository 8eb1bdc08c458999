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


async def test_a_slot_is_taken_again_only_when_its_work_is_over(brain, tmp_path):
    """Twenty programs for one slot: none finds another at work, though the next is started in the write that ends the last."""
    held = tmp_path / "held"
    brain.program("alone", "sh", "-c", f"mkdir {held} && sleep 0.01 && rmdir {held} && echo done", more=SLOW)
    names = [f"t{number}" for number in range(20)]
    for name in names:
        brain.drop(f"{name}.md")
    async with brain.running() as running:
        await running.ended(*names)
    assert [row.status for row in brain.rows()] == ["completed"] * 20
